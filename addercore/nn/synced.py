"""Batch normalisation over the images that several processes compute together.

Each process (rank) has a part of every batch. A layer's mean and variance are those of the whole batch: each rank sends
its own, and each combines all of them in the order of ranks, so that all get the same bits. The backward needs the sums
of ∂z and of ∂z · x̂ over the whole batch, and adds them up in the same way. Torch's SyncBatchNorm does so on GPUs alone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from addercore.ops import library


class Peers(Protocol):
    """The ranks that compute a batch together."""

    @property
    def shares(self) -> Sequence[int]:
        """Images that each rank has of the batch at hand; one number where one rank computes it alone."""
        ...

    def gather(self, values: Tensor) -> Tensor:
        """(ranks, *shape): the tensors `values` of all ranks, in the order of ranks."""
        ...


class SyncedNorm(nn.Module):
    """What both synchronised normalisations share. In evaluation they are torch's own."""

    peers: Peers | None = None

    @property
    def divided(self) -> bool:
        """Whether the batch at hand is computed by several ranks."""
        return self.peers is not None and len(self.peers.shares) > 1


class SyncedNorm2d(SyncedNorm, nn.BatchNorm2d):
    """nn.BatchNorm2d over the images of all ranks."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.divided):
            return nn.BatchNorm2d.forward(self, x)
        return synced(self, x)


class SyncedNorm1d(SyncedNorm, nn.BatchNorm1d):
    """nn.BatchNorm1d over the images of all ranks."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.divided):
            return nn.BatchNorm1d.forward(self, x)
        return synced(self, x[:, :, None, None])[:, :, 0, 0]


_SYNCED: dict[type[nn.Module], type[SyncedNorm]] = {nn.BatchNorm2d: SyncedNorm2d, nn.BatchNorm1d: SyncedNorm1d}


def synchronise(model: nn.Module, peers: Peers) -> None:
    """Has all batch normalisations of `model` take the statistics of the whole batch.

    They become other classes in their places: names, parameters and buffers stay as they are.
    """
    for module in model.modules():
        if type(module) in _SYNCED:
            module.__class__ = _SYNCED[type(module)]
            module.peers = peers  # type: ignore[assignment]


def synced(
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
    y: Tensor,
    residual: Tensor | None = None,
    relu: bool = False,
    backend: str = "",
) -> Tensor:
    """act(norm(y) + residual) in training; updates the running statistics.

    Args:
        norm: knows its ranks, of which several compute the batch at hand.
        y: (N, c, H, W), this rank's part of it. Half types are computed in float32.
        residual: of the shape of `y`.
        relu: whether act is ReLU, else it is nothing.
        backend: the kernels that compute.
    """
    assert isinstance(norm, SyncedNorm)  # for types, here and below: see `divided`
    assert norm.peers is not None
    kind = norm.weight.dtype
    wide = y.to(kind)
    added = None if residual is None else residual.to(kind)
    z: Tensor
    z, mean, variance = _Synced.apply(wide, norm.weight, norm.bias, added, relu, norm.eps, norm.peers, backend)  # type: ignore[no-untyped-call]
    if norm.track_running_stats:
        count = _count(y, norm.peers.shares)
        track(norm, mean, variance * (count / (count - 1)))
    return z.to(y.dtype)


def _count(y: Tensor, shares: Sequence[int]) -> int:
    """Values a channel of the whole batch."""
    return sum(shares) * y.shape[2] * y.shape[3]


class _Synced(torch.autograd.Function):
    """(z, mean, biased variance) with z = act(γ · (y − mean) / √(variance + ε) + β + residual)."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        gamma: Tensor,
        beta: Tensor,
        residual: Tensor | None,
        relu: bool,
        eps: float,
        peers: Peers,
        backend: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        own_variance, own_mean = torch.var_mean(y, (0, 2, 3), correction=0)
        shares = list(peers.shares)
        mean, variance = combine(peers.gather(torch.stack([own_mean, own_variance])), shares)
        invstd = torch.rsqrt(variance + eps)
        scale = gamma * invstd
        z = library.normalize(y, scale, beta - mean * scale, residual, relu, backend)
        ctx.save_for_backward(gamma, y, mean, invstd, z if relu else None)
        ctx.peers, ctx.count, ctx.backend = peers, _count(y, shares), backend
        ctx.mark_non_differentiable(mean, variance)
        return z, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        library.refuse_second_derivative()
        gamma, y, mean, invstd, z = ctx.saved_tensors
        grad = grad.contiguous()
        grad_y, own_gamma, own_beta, masked = library.normalize_backward(grad, z, y, mean, invstd, gamma, ctx.backend)
        whole = _sum(ctx.peers.gather(torch.stack([own_gamma, own_beta])))
        # The kernel has subtracted the means over this rank's values. What they differ by from those over all values,
        # scale · (d + x̂ · e), is linear in y.
        own = y.numel() // y.shape[1]
        e, d = own_gamma / own - whole[0] / ctx.count, own_beta / own - whole[1] / ctx.count
        slope = gamma * invstd * invstd * e
        grad_y = library.normalize(y, slope, gamma * invstd * d - slope * mean, grad_y, False, ctx.backend)
        grad_residual = (grad if z is None else masked) if ctx.needs_input_grad[3] else None
        return grad_y, own_gamma, own_beta, grad_residual, None, None, None, None


def combine(moments: Tensor, shares: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(mean, biased variance) of all values of each channel.

    Args:
        moments: (ranks, 2, c), each rank's own mean and biased variance.
        shares: images that each rank has.
    """
    wide, total = moments.double(), sum(shares)
    mean = _sum(torch.stack([share / total * of for share, of in zip(shares, wide[:, 0], strict=True)]))
    spread = [
        share / total * (variance + (own - mean) ** 2) for share, (own, variance) in zip(shares, wide, strict=True)
    ]
    return mean.to(moments.dtype), _sum(torch.stack(spread)).to(moments.dtype)


def _sum(parts: Tensor) -> Tensor:
    """Over the first dimension, in order."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def track(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Updates running mean and unbiased variance as torch does: by `momentum`, or as averages if that is None."""
    rate = 0.0 if norm.momentum is None else norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            rate = 1.0 / float(norm.num_batches_tracked)
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        if running is not None:
            running.lerp_(value, rate)
