"""Launches of the batch normalisation's kernels."""

import torch
from torch import Tensor

from addercore.ops.triton import moments
from addercore.ops.triton.launch import BLOCK, INT32, OPTIONS

RUN = 8 * BLOCK
"""Values of a channel that one program of the backward pass adds up."""


def run_normalize(y: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    """act(scale · y + shift + residual): (N, c, H', W')."""
    z = torch.empty_like(y)
    if y.numel() == 0:
        return z
    moments.normalize_kernel[(-(-y.numel() // BLOCK),)](
        y, scale, shift, y if residual is None else residual, z, y.shape[2] * y.shape[3], y.shape[1], y.numel(),
        RESIDUAL=residual is not None, RELU=relu, WIDE=y.numel() + BLOCK >= INT32, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip
    return z


def run_normalize_backward(
    grad: Tensor, z: Tensor | None, y: Tensor, mean: Tensor, invstd: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(∂y, ∂γ, ∂β, gradient behind the ReLU): a pass that reduces, a tiny merge, and a pass over the elements."""
    channels, area = y.shape[1], y.shape[2] * y.shape[3]
    grad_beta, grad_gamma = (mean.new_empty(channels) for _ in range(2))
    total = y.shape[0] * area
    grad_y = torch.empty_like(y)
    if total == 0:
        return grad_y, grad_gamma.zero_(), grad_beta.zero_(), grad
    masked = grad if z is None else torch.empty_like(grad)
    runs = -(-total // RUN)
    betas, gammas = (mean.new_empty((runs, channels)) for _ in range(2))
    moments.backward_sums_kernel[(channels * runs,)](
        grad, y if z is None else z, y, mean, invstd, masked, betas, gammas, area, channels, total, RUN,
        RELU=z is not None, WIDE=total + RUN >= INT32, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip
    moments.merge_sums_kernel[(-(-channels // 32),)](
        betas, gammas, grad_beta, grad_gamma, runs, channels, BLOCK=32, num_warps=1, **OPTIONS
    )
    moments.backward_kernel[(-(-y.numel() // BLOCK),)](
        masked, y, mean, invstd, gamma, grad_beta, grad_gamma, grad_y, area, channels, y.numel(), total,
        WIDE=y.numel() + BLOCK >= INT32, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip
    return grad_y, grad_gamma, grad_beta, masked
