"""Computes an adder layer and its batch normalisation in one call, if the tensors allow it."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from addercore.nn.layers import Adder2d, AdderLinear
from addercore.nn.synced import SyncedNorm, synced, track
from addercore.ops.checks import geometry_of, output_shape
from addercore.ops.fused import forward_normalized
from addercore.ops.library import forward, forward_affine

Layer = Adder2d | AdderLinear
Norm = nn.BatchNorm1d | nn.BatchNorm2d


def adder_norm(layer: Layer, norm: Norm, x: Tensor, residual: Tensor | None, relu: bool, pool: bool = False) -> Tensor:
    """act(norm(layer(x)) + residual), by one fused operator if that gives the modules' result, else by the modules.

    With `pool`, the maximum of each 2×2 window of it; in training that is part of the fused operator.
    """
    z, pooled = _computed(layer, norm, x, residual, relu, pool)
    return nnf.max_pool2d(z, 2) if pool and not pooled else z


def _computed(
    layer: Layer, norm: Norm, x: Tensor, residual: Tensor | None, relu: bool, pool: bool
) -> tuple[Tensor, bool]:
    """(z, whether it has been pooled)."""
    if torch.is_autocast_enabled(x.device.type):  # an adder's output is float32 there, and so is what follows
        x, residual = _single(x), None if residual is None else _single(residual)
    differs = layer.p != 1 or (layer.clip != "hardtanh" and torch.is_grad_enabled())
    images = None if differs else _images(layer, norm, x, residual)  # the fused operators know eqs. 6 and 7 alone
    if images is None:
        return _unfused(layer, norm, x, residual, relu), False
    rows, filters, added = images
    shape = output_shape(rows.shape, filters.shape, geometry_of(*layer.options[:4]))
    count = shape[0] * shape[2] * shape[3]  # values a channel
    if added is not None and added.shape != shape:
        return _unfused(layer, norm, x, residual, relu), False
    pooled = False
    if norm.training and isinstance(norm, SyncedNorm) and norm.divided:
        y = forward(rows, filters, layer.gradient == "sign", *layer.options)
        z = synced(norm, y, added, relu, layer.backend or "")
    elif norm.training or (norm.running_mean is None and norm.running_var is None):
        if count < 2:  # the module raises in training, and there are no statistics of nothing
            return _unfused(layer, norm, x, residual, relu), False
        pooled = pool and added is None and min(shape[2:]) > 1
        z = _by_batch(layer, norm, rows, filters, added, relu, pooled, count)
    elif norm.running_mean is None or norm.running_var is None or _wants_gradient(norm, rows, filters, added):
        return _unfused(layer, norm, x, residual, relu), False
    else:
        scale, shift = folded(norm, norm.running_mean, norm.running_var)
        z = forward_affine(rows, filters, scale, shift, added, relu, *layer.options)
    return z.flatten(1) if isinstance(layer, AdderLinear) else z, pooled


def _unfused(layer: Layer, norm: Norm, x: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    z: Tensor = norm(layer(x))
    if residual is not None:
        z = z + residual
    return torch.relu(z) if relu else z


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _images(
    layer: Layer, norm: Norm, x: Tensor, residual: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """(x, filters, residual) in four dimensions if they fit each other and have one type and device, else None."""
    filters = layer.weight
    others = (x, residual, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if filters.dtype not in (torch.float32, torch.float64) or norm.num_features != filters.shape[0]:
        return None
    if any(one is not None and (one.dtype != filters.dtype or one.device != filters.device) for one in others):
        return None
    if x.dim() != filters.dim() or (residual is not None and residual.dim() != x.dim()):
        return None
    if not isinstance(layer, AdderLinear):
        return x, filters, residual
    if x.shape[1] != filters.shape[1]:
        return None
    added = None if residual is None else residual[:, :, None, None]
    return x[:, :, None, None], filters[:, :, None, None], added


def _wants_gradient(norm: Norm, *tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in (*tensors, norm.weight, norm.bias)
    )


def _gamma_beta(norm: Norm, like: Tensor) -> tuple[Tensor, Tensor]:
    if norm.affine:
        return norm.weight, norm.bias
    return like.new_ones(norm.num_features), like.new_zeros(norm.num_features)


def _by_batch(
    layer: Layer,
    norm: Norm,
    x: Tensor,
    filters: Tensor,
    residual: Tensor | None,
    relu: bool,
    pool: bool,
    count: int,
) -> Tensor:
    gamma, beta = _gamma_beta(norm, x)
    sign = layer.gradient == "sign"
    z: Tensor
    z, mean, variance = forward_normalized(
        x, filters, gamma, beta, residual, relu, pool, norm.eps, sign, *layer.options
    )
    if norm.training and norm.track_running_stats:
        track(norm, mean, variance * (count / (count - 1)))
    return z


def folded(norm: Norm, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The normalisation by given statistics as (scale, shift) of each channel."""
    invstd = torch.rsqrt(variance + norm.eps)
    if not norm.affine:
        return invstd, -mean * invstd
    scale = norm.weight * invstd
    return scale, norm.bias - mean * scale
