"""The public operations: checked arguments, one autograd function, the backend of one's choice."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from addercore.ops import registry
from addercore.ops.geometry import Geometry

Gradient = Literal["full_precision", "sign"]
GRADIENTS: tuple[str, ...] = ("full_precision", "sign")


class _Adder(torch.autograd.Function):
    """Y = −Σ |X − F| (eq. 2) with the paper's gradients, which are not Y's derivatives (eqs. 4–7)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry, backend: registry.Backend, sign: bool
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.backend, ctx.sign = geometry, backend, sign
        return backend.forward(x, weight, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = ctx.backend.grad_input(grad, x, weight, ctx.geometry) if ctx.needs_input_grad[0] else None
        grad_w = ctx.backend.grad_weight(grad, x, weight, ctx.geometry, ctx.sign) if ctx.needs_input_grad[1] else None
        return grad_x, grad_w, None, None, None


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(part, int) and part >= least for part in pair):
        raise ValueError(f"{name} must be an integer ≥ {least} or two of them, got {value!r}")
    return pair[0], pair[1]


def _check(x: Tensor, weight: Tensor, geometry: Geometry, gradient: str) -> None:
    if gradient not in GRADIENTS:
        raise ValueError(f"unknown gradient {gradient!r}; known: {', '.join(GRADIENTS)}")
    if x.dim() != 4 or weight.dim() != 4:
        raise ValueError(
            "adder_conv2d takes an input (N, c_in, H, W) and a weight (c_out, c_in/groups, kh, kw), "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    for name, tensor in (("input", x), ("weight", weight)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must have a floating type, got {tensor.dtype}")
    if x.device != weight.device:
        raise ValueError(f"input is on {x.device} and weight on {weight.device}; move one to the other's device")
    groups = geometry.groups
    if not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"an input {tuple(x.shape)} and a weight {tuple(weight.shape)} do not fit in {groups!r} groups: "
            "c_in must be weight.shape[1]·groups, and c_out a multiple of groups"
        )
    if min(weight.shape) < 1:
        raise ValueError(f"weight must not be empty, got {tuple(weight.shape)}")
    kernel = (weight.shape[2], weight.shape[3])
    if min(geometry.output_size((x.shape[2], x.shape[3]), kernel)) < 1:
        raise ValueError(f"the input {tuple(x.shape)} is smaller than the window of {kernel}, {geometry}")


def _common(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one computing type: float64 where either has it, else float32.

    Half types are computed and returned in float32, under autocast too: an adder's output is large against its
    spread, and bf16 would lose a quarter of a standard deviation (kernels.md, numerics).
    """
    double = torch.float64 in (x.dtype, weight.dtype)
    kind = torch.float64 if double else torch.float32
    return x.to(kind).contiguous(), weight.to(kind).contiguous()


def adder_conv2d(
    input: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    backend: str | None = None,
    gradient: Gradient = "full_precision",
) -> Tensor:
    """Adder layer, eq. 2: Y(n, f, p) = −Σ_k |X(n, p, k) − F(f, k)|, always ≤ 0.

    input (N, c_in, H, W), weight (c_out, c_in/groups, kh, kw) → (N, c_out, H', W'), H' as for a convolution.
    Zero padding is not neutral: a padded tap contributes −|F|. Gradients are the paper's: eq. 5 (or eq. 4 with
    gradient="sign") for the weight, eqs. 6 and 7 for the input in both cases.
    """
    geometry = Geometry(
        _pair("stride", stride, 1), _pair("padding", padding, 0), _pair("dilation", dilation, 1), groups
    )
    _check(input, weight, geometry, gradient)
    chosen = registry.get(backend)
    with torch.autocast(input.device.type, enabled=False):
        x, filters = _common(input, weight)
        result: Tensor = _Adder.apply(x, filters, geometry, chosen, gradient == "sign")  # type: ignore[no-untyped-call]
    return result


def adder_linear(
    input: Tensor, weight: Tensor, backend: str | None = None, gradient: Gradient = "full_precision"
) -> Tensor:
    """The adder layer with d = 1: input (…, in), weight (out, in) → (…, out), Y = −Σ_k |X_k − F_fk|."""
    if weight.dim() != 2 or input.dim() < 1 or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"adder_linear takes an input (…, in) and a weight (out, in), "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    rows = input.reshape(-1, input.shape[-1], 1, 1)
    y = adder_conv2d(rows, weight[:, :, None, None], backend=backend, gradient=gradient)
    return y.reshape(*input.shape[:-1], weight.shape[0])
