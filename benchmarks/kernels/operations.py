"""The layer's operations as calls without arguments, by backend, and their convolutional counterparts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.ops import Backend
from benchmarks.kernels.shapes import Layer

Call = Callable[[], object]
Repeated = Callable[[int], object]
"""So many calls, one after the other."""
BASIC = ("forward", "grad_input", "grad_weight")
OPERATIONS = ("forward", "forward_moments", "forward_affine", "grad_input", "grad_weight")
CONV = "conv"
"""Name of the convolutional counterpart, beside the backends' names."""


@dataclass(frozen=True)
class Data:
    """Tensors of a layer: x (N, c, H, W), weight (F, c/G, kh, kw), grad (N, F, H', W'), scale and shift (F,)."""

    layer: Layer
    x: Tensor
    weight: Tensor
    grad: Tensor
    scale: Tensor
    shift: Tensor


def repeated(call: Call) -> Repeated:
    """`call` in a loop of Python's."""

    def run(times: int) -> None:
        for _ in repeat(None, times):
            call()

    return run


def data(layer: Layer) -> Data:
    """N(0, 1) everywhere, as filters start; fp32. No kernel's speed depends on the values."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Data(
        layer,
        normal(layer.batch, layer.inputs, *layer.size),
        normal(layer.filters, layer.inputs // layer.geometry.groups, *layer.kernel),
        normal(layer.batch, layer.filters, *layer.output),
        normal(layer.filters),
        normal(layer.filters),
    )


def adder_call(backend: Backend, operation: str, of: Data) -> Call:
    """One call of a backend's method: the operation with its allocations, without autograd and dispatch."""
    geometry = of.layer.geometry
    calls: dict[str, Call] = {
        "forward": lambda: backend.forward(of.x, of.weight, geometry),
        "forward_moments": lambda: backend.forward_moments(of.x, of.weight, geometry),
        "forward_affine": lambda: backend.forward_affine(
            of.x, of.weight, geometry, of.scale, of.shift, residual=None, relu=True
        ),
        "grad_input": lambda: backend.grad_input(of.grad, of.x, of.weight, geometry),
        "grad_weight": lambda: backend.grad_weight(of.grad, of.x, of.weight, geometry, sign=False),
    }
    return calls[operation]


def conv_call(operation: str, of: Data) -> Call:
    """torch's convolution of the same shape, followed by what the fused operations do besides."""
    g = of.layer.geometry

    def forward(bias: Tensor | None = None) -> Tensor:
        return nnf.conv2d(of.x, of.weight, bias, g.stride, g.padding, g.dilation, g.groups)

    def backward(mask: list[bool]) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            of.grad, of.x, of.weight, None, g.stride, g.padding, g.dilation, False, (0, 0), g.groups, mask
        )
        return found

    calls: dict[str, Call] = {
        "forward": forward,
        "forward_moments": lambda: torch.var_mean(forward(), (0, 2, 3), correction=0),
        "forward_affine": lambda: forward(of.shift).relu_(),  # the scale is folded into the filters
        "grad_input": lambda: backward([True, False, False]),
        "grad_weight": lambda: backward([False, True, False]),
    }
    return calls[operation]
