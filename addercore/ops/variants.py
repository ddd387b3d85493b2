"""The layer with another power than 1, or with another input gradient than eqs. 6 and 7 (`Clip`).

    Y = −Σ |X − F|ᵖ,   ∂Y/∂F = p · |X − F|ᵖ⁻¹ · sgn(X − F),   ∂Y/∂X = clip(−∂Y/∂F)

For p = 1 the layer's forward and filter gradient (eq. 5 or 4) are the backend's kernels, and the input gradient without
a clip is two products. For other powers everything is computed here, in pieces of bounded memory, many times slower
than the kernels (`python -m benchmarks.powers`). Training with p from 2 to 1 is that of Universal adder neural networks
(Chen et al. 2021, https://arxiv.org/abs/2105.14202), after its abstract; the clip for every p is this project's.
"""

from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from addercore.ops import library, portable, registry
from addercore.ops.checks import check_tensors, geometry_of, known_layer
from addercore.ops.geometry import Geometry

Clip = Literal["hardtanh", "none", "sign"]
"""∂Y/∂X: F − X clamped to [−1, 1] (eqs. 6, 7), F − X as it is, or sgn(F − X), the derivative of eq. 2."""
CLIPS: Final = get_args(Clip)
POWERS: Final = (1.0, 2.0)
_STEEP: Final = 2.0**64
"""clamp(s·F − s·X, −1, 1) is sgn(F − X) where they differ by 1 / s or more; products with powers of two are exact."""


def check_variant(clip: str, p: float) -> None:
    """`ValueError` for an unknown clip, or a power that is not from 1 to 2."""
    if clip not in CLIPS:
        raise ValueError(f"unknown clip {clip!r}; known: {', '.join(CLIPS)}")
    if not POWERS[0] <= p <= POWERS[1]:
        raise ValueError(f"p must be from 1 to 2, got {p}")


class _Variant(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sign: bool, clip: Clip, p: float, *options: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = sign, clip, p, options
        y: Tensor = library.forward(x, weight, sign, *options) if p == 1 else _power(x, weight, p, options)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        library.refuse_second_derivative()
        (x, weight), (sign, clip, p, options) = ctx.saved_tensors, ctx.settings
        for_x, for_weight, *_ = ctx.needs_input_grad
        geometry = geometry_of(*options[:4])
        grad = grad.contiguous()
        if p != 1:
            grad_x, grad_weight = gradients(grad, x, weight, geometry, p, clip, for_x, for_weight)
        else:
            grad_weight = library.grad_weight(grad, x, weight, sign, *options) if for_weight else None
            grad_x = _grad_input(grad, x, weight, geometry, clip, options) if for_x else None
        return grad_x, grad_weight, None, None, None, *(None,) * len(options)


def variant(x: Tensor, weight: Tensor, sign: bool, clip: Clip, p: float, *options: Any) -> Tensor:
    """Y, for tensors as `adder_conv2d` takes them; `options` as the operators have them."""
    check_variant(clip, p)
    check_tensors(input=x, weight=weight)
    known_layer(x.shape, weight.shape, *(tuple(pair) for pair in options[:3]), options[3])
    kind = torch.float64 if torch.float64 in (x.dtype, weight.dtype) else torch.float32
    result: Tensor = _Variant.apply(  # type: ignore[no-untyped-call]
        x.to(kind).contiguous(), weight.to(kind).contiguous(), sign, clip, p, *options
    )
    return result if torch.is_autocast_enabled(x.device.type) else result.to(x.dtype)


def _grad_input(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, clip: Clip, options: tuple[Any, ...]
) -> Tensor:
    """Of p = 1."""
    if clip == "none":
        return _unclipped(grad, x, weight, geometry)
    if clip == "sign" and not registry.choose(x.device, x.dtype, options[4]).name.startswith(registry.C):
        found = gradients(grad, x, weight, geometry, 1.0, clip, True, False)[0]
        assert found is not None
        return found
    steep = _STEEP if clip == "sign" else 1.0
    result: Tensor = library.grad_input(grad, x * steep, weight * steep, *options)
    return result


def _unclipped(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Σ g·(F − X) = Σ g·F − X·Σ g: the input gradient of a convolution, and of one whose filters are all one."""
    if x.numel() == 0 or grad.numel() == 0:
        return torch.zeros_like(x)
    groups, (images, channels, *size) = geometry.groups, x.shape

    def back(rows: Tensor, shape: tuple[int, ...], filters: Tensor) -> Tensor:
        place = (geometry.stride, geometry.padding, geometry.dilation)
        like = x.new_empty(1).expand(shape)
        found: Tensor = torch.ops.aten.convolution_backward(
            rows, like, filters, None, *place, False, [0, 0], groups, [True, False, False]
        )[0]
        return found

    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        products = back(grad, tuple(x.shape), weight)
        each = grad.view(images, groups, -1, *grad.shape[2:]).sum(2)
        sums = back(each, (images, groups, *size), weight.new_ones((groups, 1, *weight.shape[2:])))
    return products - x * sums.repeat_interleave(channels // groups, 1)


def _power(x: Tensor, weight: Tensor, p: float, options: tuple[Any, ...]) -> Tensor:
    """−Σ |X − F|ᵖ: (N, c_in, H, W), (c_out, c_in/G, kh, kw) → (N, c_out, H', W')."""
    geometry, kernel = geometry_of(*options[:4]), (weight.shape[2], weight.shape[3])
    size = geometry.output_size((x.shape[2], x.shape[3]), kernel)
    y, flat = x.new_empty((x.shape[0], weight.shape[0], *size)), weight.flatten(1)
    for images, inputs, filters in portable.Portable()._images(x, weight, geometry):
        columns = geometry.columns(x[images, inputs], kernel)  # (P, K)
        distances = torch.cdist(columns, flat[filters], p, compute_mode="donot_use_mm_for_euclid_dist").pow(p)
        y[images, filters] = -distances.view(-1, *size, distances.shape[1]).permute(0, 3, 1, 2)
    return y


def gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    p: float,
    clip: Clip,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """(∂x clipped, ∂weight) of the equations above, of those that are wanted; grad (N, c_out, H', W')."""
    kernel, flat = (weight.shape[2], weight.shape[3]), weight.flatten(1)
    grad_x, grad_flat = torch.zeros_like(x), torch.zeros_like(flat)
    for images, inputs, filters in portable.Portable()._images(x, weight, geometry):
        part = x[images, inputs]
        columns = geometry.columns(part, kernel)  # (P, K)
        rows = grad[images, filters].permute(0, 2, 3, 1).reshape(columns.shape[0], -1)  # (P, f)
        back = torch.empty_like(columns)
        for begin, end in portable._runs(columns.shape[0], flat[filters].numel(), portable.TEMPORARY):
            slopes = slope(columns[begin:end, None] - flat[filters], p)  # (p, f, K)
            if for_weight:
                grad_flat[filters] += torch.bmm(rows[begin:end].t()[:, None], slopes.transpose(0, 1))[:, 0]
            if for_x:
                torch.bmm(rows[begin:end, None], clipped(slopes.neg_(), clip), out=back[begin:end, None])
        if for_x:
            grad_x[images, inputs] = geometry.scatter(back, part.shape, kernel)
    return grad_x if for_x else None, grad_flat.view_as(weight) if for_weight else None


def slope(difference: Tensor, p: float) -> Tensor:
    """p · |d|ᵖ⁻¹ · sgn(d), element by element."""
    if p == 2:
        return 2 * difference
    return difference.sign() if p == 1 else difference.abs().pow_(p - 1).mul_(p).copysign_(difference)


def clipped(slopes: Tensor, clip: Clip) -> Tensor:
    """In place."""
    return slopes.clamp_(-1, 1) if clip == "hardtanh" else slopes.sign_() if clip == "sign" else slopes
