"""Random layers, their numbers, and what the error of a backend is measured against: for the tests of the operators."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as nnf

from addercore.ops import Backend, Geometry, available, get

CPU = torch.device("cpu")
EPS = 2.0**-23  # distance of neighbouring float32 at 1
LAYOUTS = ("contiguous", "channels_last", "strided", "offset")


def takes(name: str, dtype: torch.dtype) -> bool:
    return get(name).refusal(CPU, dtype) is None


BACKENDS = tuple(name for name in available() if name != "triton" and takes(name, torch.float32))
"""All but Triton's: its interpreter takes seconds a call, and has a process of its own (test_triton.py)."""
DOUBLE = tuple(name for name in BACKENDS if takes(name, torch.float64))
COMPILED = tuple(name for name in BACKENDS if name.startswith("c-"))

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@dataclass(frozen=True)
class Layer:
    """A layer's shapes and the seed of its numbers."""

    shape: tuple[int, int, int, int]  # (N, c_in, H, W)
    outputs: int
    kernel: tuple[int, int]
    geometry: Geometry
    seed: int = 0

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.outputs, self.shape[1] // self.geometry.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.shape[0], self.outputs, *self.geometry.output_size(self.shape[2:], self.kernel))

    @property
    def arguments(self) -> dict[str, Any]:
        """For `adder_conv2d`."""
        g = self.geometry
        return {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups}

    def random(self, *shape: int) -> Tensor:
        """Standard normal numbers that depend on seed and shape alone; float64 values that float32 holds exactly."""
        generator = torch.Generator().manual_seed(hash((self.seed, shape)) % 2**63)
        return torch.randn(shape, generator=generator, dtype=torch.float32).double()

    def channel(self, number: int) -> Tensor:
        """Another number for each output channel, (c_out,), for each `number`."""
        return self.random(self.outputs, 1, number + 2)[:, 0, 0].contiguous()

    def numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """(x, weight, gradient of the output), float64."""
        return self.random(*self.shape), 2 * self.random(*self.weight_shape), self.random(*self.output_shape)


@st.composite
def layers(draw: st.DrawFn, largest: int = 12, channels: int = 9, images: int = 3) -> Layer:
    """Odd shapes: rectangular kernels and images, strides, paddings, dilations, groups; no multiple of any tile."""
    depthwise = draw(st.integers(0, 4)) == 4  # a kernel of its own in C
    groups = draw(st.integers(1, 2 * channels if depthwise else 3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    assume(all(size[a] + 2 * padding[a] > dilation[a] * (kernel[a] - 1) for a in (0, 1)))
    return Layer(
        shape=(draw(st.integers(0, images)), groups * (1 if depthwise else draw(st.integers(1, channels))), *size),
        outputs=groups * (1 if depthwise else draw(st.integers(1, 2 * channels))),
        kernel=kernel,
        geometry=Geometry(stride, padding, dilation, groups),
        seed=draw(st.integers(0, 2**31)),
    )


def arranged(tensor: Tensor, layout: str) -> Tensor:
    """The same values, lying in memory in another way."""
    match layout:
        case "channels_last":
            return tensor.contiguous(memory_format=torch.channels_last)
        case "strided":
            wide = tensor.new_full((*tensor.shape[:3], 2 * tensor.shape[3]), float("nan"))
            wide[..., ::2] = tensor
            return wide[..., ::2]
        case "offset":  # not aligned to a vector
            flat = tensor.new_full((tensor.numel() + 1,), float("nan"))
            flat[1:] = tensor.flatten()
            return flat[1:].view(tensor.shape)
        case _:
            return tensor


@contextmanager
def poisoned() -> Iterator[None]:
    """Fresh memory is full of NaN (torch fills it so in deterministic mode): what is never written shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def layer_results(backend: Backend, layer: Layer, kind: torch.dtype, sign: bool = False) -> dict[str, Tensor]:
    """Output and gradients, by the backend's own methods."""
    x, weight, grad = (tensor.to(kind) for tensor in layer.numbers())
    return {
        "forward": backend.forward(x, weight, layer.geometry),
        "grad_input": backend.grad_input(grad, x, weight, layer.geometry),
        "grad_weight": backend.grad_weight(grad, x, weight, layer.geometry, sign),
    }


def layer_terms(layer: Layer, sign: bool = False) -> dict[str, Tensor]:
    """Sums of magnitudes that go into each of `layer_results`, float64.

    Σ(|x| + |f|) for the output, since |x − f| may be computed as 2·max(x, f) − x − f; Σ|g| for the input's gradient,
    whose slopes lie in [−1, 1]; Σ|g|(|x| + |f|) for the weight's, Σ|g| with `sign`. They come from
    ordinary convolutions.
    """
    x, weight, grad = (tensor.abs() for tensor in layer.numbers())
    g = layer.geometry
    place = (g.stride, g.padding, g.dilation, g.groups)
    ones = torch.ones_like(weight).requires_grad_()
    x.requires_grad_()
    y = nnf.conv2d(x, ones, None, *place)
    # the derivatives of Σ x·1 are Σ|g| at x and Σ|g||x| at the ones
    for_x, for_weight = torch.autograd.grad(y, (x, ones), grad) if y.numel() else (x.detach() * 0, weight * 0)
    total = grad.sum((0, 2, 3))[:, None, None, None].expand_as(weight)
    return {
        "forward": y.detach() + weight.sum((1, 2, 3))[:, None, None],
        "grad_input": for_x,
        "grad_weight": total if sign else for_weight + weight * total,
    }


def worst(exact: Tensor, found: Tensor, terms: Tensor) -> float:
    """Largest |exact − found| as a multiple of eps · (sum of magnitudes)."""
    assert exact.shape == found.shape
    if not exact.numel():
        return 0.0
    return float(((exact - found.double()).abs() / (EPS * terms.clamp(min=1e-30))).max())
