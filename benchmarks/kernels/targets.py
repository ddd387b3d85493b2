"""The figures that were asked for, and whether a result reaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.kernels.kernels import Result
from benchmarks.kernels.shapes import Layer

AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True)
class Target:
    """A bound on a figure of those results that it is meant for."""

    title: str
    relation: str
    bound: float
    meant: Callable[[Result], bool]
    figure: Callable[[Result], float | None]

    def reached(self, figure: float) -> bool:
        return figure >= self.bound if self.relation == AT_LEAST else figure <= self.bound


def odd(result: Result) -> bool:
    """LeNet-5-BN's layers: 1, 6, 16, 84 and 120 channels, 5x5 and fully connected."""
    return result.group.startswith("lenet5_bn")


def stride(layer: Layer) -> int:
    return max(layer.geometry.stride)


def _share(operations: tuple[str, ...], kernel: int, step: int, backend: str) -> Callable[[Result], bool]:
    def meant(result: Result) -> bool:
        layer = result.layer
        of_shape = not odd(result) and layer.kernel == (kernel, kernel) and stride(layer) == step
        return of_shape and result.threads == 1 and result.operation in operations and result.backend == backend

    return meant


def _percent(result: Result) -> float | None:
    return result.percent


def _kernel_targets(best: str) -> list[Target]:
    """Shares of the peak; batch 1 is among them. Fused forwards are judged with the plain one."""
    forward = ("forward", "forward_moments", "forward_affine")
    gradient = ("grad_input",)
    return [
        Target("forward, 3x3 stride 1, % of peak", AT_LEAST, 85, _share(forward, 3, 1, best), _percent),
        Target("forward, 3x3 stride 2, % of peak", AT_LEAST, 60, _share(forward, 3, 2, best), _percent),
        Target("forward, 1x1 stride 2, % of peak", AT_LEAST, 50, _share(forward, 1, 2, best), _percent),
        Target("forward, odd channel counts, % of peak", AT_LEAST, 40,
               lambda r: odd(r) and r.threads == 1 and r.operation in forward and r.backend == best, _percent),
        Target("forward, 3x3 stride 1 by AVX2, % of its peak", AT_LEAST, 75, _share(forward, 3, 1, "c-avx2"), _percent),
        Target("input gradient, stride 1, % of peak", AT_LEAST, 85,
               lambda r: stride(r.layer) == 1 and r.threads == 1 and r.operation in gradient and r.backend == best,
               _percent),
        Target("input gradient, stride 2, % of peak", AT_LEAST, 60,
               lambda r: stride(r.layer) > 1 and r.threads == 1 and r.operation in gradient and r.backend == best,
               _percent),
    ]  # fmt: skip


def kernel_targets(best: str) -> list[Target]:
    """What is asked of the kernels; `best` is the backend of the machine's best instruction set."""
    return [
        *_kernel_targets(best),
        Target("filter gradient, time / convolution's", AT_MOST, 1.0,
               lambda r: r.operation == "grad_weight" and r.threads == 1 and r.backend == best,
               lambda r: r.to_conv),
        Target("two threads, speed / one's", AT_LEAST, 1.8,
               lambda r: r.threads == 2 and r.backend == best and r.layer.batch > 1,
               lambda r: r.speedup),
    ]  # fmt: skip


def of(result: Result, targets: list[Target]) -> Target | None:
    """The target that the result is held against."""
    return next((target for target in targets if target.meant(result)), None)
