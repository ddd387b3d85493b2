"""The layer with its batch normalisation, ReLU, residual addition or pooling, as training computes it."""

from typing import Any, Final

import torch
from torch import Tensor

from addercore.ops import library
from addercore.ops.checks import check_shape, check_tensors


def check_normalized(
    x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, pool: bool
) -> None:
    """All are on the device of `x` and of its type: float32 or float64. Shapes are checked where y is known."""
    if pool and residual is not None:
        raise ValueError("forward_normalized adds a residual or pools, not both; got pool = True and a residual")
    tensors = {"input": x, "weight": weight, "gamma": gamma, "beta": beta, "residual": residual}
    check_tensors(**tensors)
    for name, tensor in tensors.items():
        if tensor is not None and (tensor.dtype != x.dtype or tensor.dtype not in (torch.float32, torch.float64)):
            raise ValueError(
                f"{name} is {tensor.dtype} and input {x.dtype}; forward_normalized takes float32 or float64 for all"
            )
    for name, tensor in (("gamma", gamma), ("beta", beta)):
        check_shape(name, tensor, weight.shape[:1])


class _NormalizedAdder(torch.autograd.Function):
    """z = act(γ · (Y − mean) / √(var + ε) + β + residual) with the batch's own mean and variance of Y (eq. 2).

    Kept for the backward: x, weight, γ, Y, two numbers a channel, and z where a ReLU was applied. That is what the
    separate modules keep as well; the normalised values and the ReLU's mask are computed again. With `pool`, z is the
    maximum of each 2×2 window, and a byte a window is kept in place of it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        residual: Tensor | None,
        relu: bool,
        pool: bool,
        eps: float,
        sign: bool,
        *options: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        check_normalized(x, weight, gamma, beta, residual, pool)
        y, mean, variance = library.forward_moments(x, weight, *options)
        invstd = torch.rsqrt(variance + eps)
        scale = gamma * invstd
        z, kept = _activated(y, scale, beta - mean * scale, residual, relu, pool, options[4])
        ctx.save_for_backward(x, weight, gamma, y, mean, invstd, kept if relu or pool else None)
        ctx.sign, ctx.pool, ctx.options = sign, pool, options
        ctx.mark_non_differentiable(mean, variance)
        return z, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        library.refuse_second_derivative()
        x, weight, gamma, y, mean, invstd, kept = ctx.saved_tensors
        for_x, for_weight, _, _, for_residual, *_ = ctx.needs_input_grad
        channels, backend = (mean, invstd, gamma), ctx.options[4]
        if ctx.pool:
            grad_y, grad_gamma, grad_beta = library.normalize_pool_backward(grad, kept, y, *channels, backend)
            masked = None
        else:
            grad_y, grad_gamma, grad_beta, masked = library.normalize_backward(grad, kept, y, *channels, backend)
        grad_x = library.grad_input(grad_y, x, weight, *ctx.options) if for_x else None
        grad_weight = library.grad_weight(grad_y, x, weight, ctx.sign, *ctx.options) if for_weight else None
        grad_residual = (grad if kept is None else masked) if for_residual else None
        return grad_x, grad_weight, grad_gamma, grad_beta, grad_residual, *(None,) * 9


def _activated(
    y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool, pool: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """(z, what the backward needs of it)."""
    if pool:
        found: tuple[Tensor, Tensor] = library.normalize_pool(y, scale, shift, relu, backend)
        return found
    z = library.normalize(y, scale, shift, residual, relu, backend)
    return z, z


def _forward_normalized(
    x: Tensor,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    relu: bool,
    pool: bool,
    eps: float,
    sign: bool,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    check_normalized(x, weight, gamma, beta, residual, pool)
    y, mean, variance = library.forward_moments(x, weight, *options)
    scale = gamma * torch.rsqrt(variance + eps)
    return _activated(y, scale, beta - mean * scale, residual, relu, pool, options[4])[0], mean, variance


def _forward_normalized_autograd(keys: Any, *arguments: Any) -> Any:
    if library.wanted(arguments):
        return _NormalizedAdder.apply(*arguments)  # type: ignore[no-untyped-call]
    return library.below_autograd(keys, forward_normalized, _forward_normalized)(*arguments)


forward_normalized: Final = library.define(
    "forward_normalized(Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor? residual, bool relu, "
    f"bool pool, float eps, bool sign, {library.OPTIONS}) -> (Tensor, Tensor, Tensor)",
    _forward_normalized,
    _forward_normalized,
    _forward_normalized_autograd,
)
"""Training: (z, mean, biased variance) as `_NormalizedAdder` says; all tensors of one type, float32 or float64.

x (N, c_in, H, W), weight (c_out, c_in/G, kh, kw), gamma and beta (c_out,), residual and z (N, c_out, H', W'), with
`pool` z (N, c_out, H'/2, W'/2) and no residual; `sign` takes eq. 4 in place of eq. 5.
"""
