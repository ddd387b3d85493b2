"""The figures that were asked for, and whether a result reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.kernels.kernels import Result
from benchmarks.kernels.shapes import Layer
from benchmarks.kernels.training import Found

AT_LEAST, AT_MOST = ">=", "<="
Meant = Callable[[Result], bool]


@dataclass(frozen=True)
class Bound:
    """What a figure has to be."""

    relation: str
    bound: float

    def reached(self, figure: float) -> bool:
        return figure >= self.bound if self.relation == AT_LEAST else figure <= self.bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"


@dataclass(frozen=True)
class Target:
    """A bound on a figure of those results that it is meant for."""

    title: str
    bound: Bound
    meant: Meant
    figure: Callable[[Result], float | None]


TRAINING = {
    "resnet20": Bound(AT_MOST, 1.25),
    "lenet": Bound(AT_MOST, 0.87),
    "lenet_threads": Bound(AT_LEAST, 1.7),
    "memory": Bound(AT_MOST, 1.1),
    "broadcast": Bound(AT_LEAST, 150),
}
"""Of whole training steps, by `training.Found.key`."""


def reached(found: Found) -> bool:
    return TRAINING[found.key].reached(found.figure)


def odd(result: Result) -> bool:
    """LeNet-5-BN's layers: 1, 6, 16, 84 and 120 channels, 5x5 and fully connected."""
    return result.group.startswith("lenet5_bn")


def depthwise(result: Result) -> bool:
    """Nine terms for each input that is read: memory and copies bound them, and no share of a peak is asked."""
    return result.layer.geometry.groups > 1


def stride(layer: Layer) -> int:
    return max(layer.geometry.stride)


def _shaped(kernel: int, step: int) -> Meant:
    """Layers of a ResNet with such windows."""
    return lambda r: not odd(r) and not depthwise(r) and r.layer.kernel == (kernel, kernel) and stride(r.layer) == step


def _one(backend: str, operations: tuple[str, ...], which: Meant) -> Meant:
    """On one thread by that backend, batch 1 included."""
    return lambda r: (r.backend, r.threads) == (backend, 1) and r.operation in operations and which(r)


FORWARD = ("forward", "forward_moments", "forward_affine")
"""The fused forwards are held against the same bounds as the plain one."""
GRADIENT = ("grad_input",)


def kernel_targets(best: str) -> list[Target]:
    """What is asked of the kernels; `best` is the backend of the machine's best instruction set."""

    def at_least(bound: float, what: str, form: str, meant: Meant) -> Iterator[Target]:
        """Of the fastest form's peak, and of the named form's, which is no ceiling where another one is faster."""
        yield Target(f"{what}: % of peak", Bound(AT_LEAST, bound), meant, lambda r: r.percent)
        yield Target(f"{what}: % of {form}", Bound(AT_LEAST, bound), meant, lambda r: r.percent_named)

    clamp = "max, min, fma" if best == "c-avx2" else "sub, range, fma"
    return [
        *at_least(85, "forward, 3x3 stride 1", "max, add", _one(best, FORWARD, _shaped(3, 1))),
        *at_least(60, "forward, 3x3 stride 2", "max, add", _one(best, FORWARD, _shaped(3, 2))),
        *at_least(50, "forward, 1x1 stride 2", "max, add", _one(best, FORWARD, _shaped(1, 2))),
        *at_least(40, "forward, odd channel counts", "max, add", _one(best, FORWARD, odd)),
        *at_least(75, "forward, 3x3 stride 1, AVX2", "max, add", _one("c-avx2", FORWARD, _shaped(3, 1))),
        *at_least(
            85,
            "input gradient, stride 1",
            clamp,
            _one(best, GRADIENT, lambda r: stride(r.layer) == 1 and not depthwise(r)),
        ),
        *at_least(
            60,
            "input gradient, stride 2",
            clamp,
            _one(best, GRADIENT, lambda r: stride(r.layer) == 2 and not depthwise(r)),
        ),
        Target(
            "filter gradient: time / convolution's",
            Bound(AT_MOST, 1.0),
            _one(best, ("grad_weight",), lambda _: True),
            lambda r: r.to_conv,
        ),
        Target(
            "two threads: times one's speed",
            Bound(AT_LEAST, 1.8),
            lambda r: (r.backend, r.threads) == (best, 2) and r.layer.batch > 1,
            lambda r: r.speedup,
        ),
    ]


def of(result: Result, targets: list[Target]) -> Target | None:
    """The target that the result is held against."""
    return next((target for target in targets if target.meant(result)), None)
