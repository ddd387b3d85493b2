"""Batch statistics from tile moments, and batch normalisation with ReLU and residual, forward and backward.

Tiles give mean m_t and M_t = Σ (y − m_t)² of n_t values. Chan's merge of all of them at once, in float64 and in a
fixed order: mean = Σ n_t·m_t / n, M2 = Σ M_t + Σ n_t·(m_t − mean)². Nowhere is E[y²] − E[y]² formed: an adder output
lies up to 129 standard deviations from 0, and the difference would lose four digits.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, disable-error-code="untyped-decorator"

import triton

from addercore.ops.triton.language import tl


@triton.jit
def merge_moments_kernel(means, squares, mean, variance, tiles, total, BP: tl.constexpr, BLOCK: tl.constexpr):
    """means, squares (c_out, tiles) → mean, biased variance (c_out,); every tile but the last holds BP values."""
    channel = tl.program_id(0)
    means += channel.to(tl.int64) * tiles
    squares += channel.to(tl.int64) * tiles
    weighted = tl.zeros([BLOCK], tl.float64)
    for first in range(0, tiles, BLOCK):
        t = first + tl.arange(0, BLOCK)
        count = tl.minimum(total - t.to(tl.int64) * BP, BP).to(tl.float64)
        weighted += count * tl.load(means + t, mask=t < tiles, other=0.0).to(tl.float64)
    centre = tl.sum(weighted, 0) / total
    centred = tl.zeros([BLOCK], tl.float64)
    for first in range(0, tiles, BLOCK):
        t = first + tl.arange(0, BLOCK)
        count = tl.minimum(total - t.to(tl.int64) * BP, BP).to(tl.float64)
        away = tl.load(means + t, mask=t < tiles, other=0.0).to(tl.float64) - centre
        inner = tl.load(squares + t, mask=t < tiles, other=0.0).to(tl.float64)
        centred += tl.where(t < tiles, inner + count * away * away, 0.0)
    tl.store(mean + channel, centre.to(tl.float32))
    tl.store(variance + channel, (tl.sum(centred, 0) / total).to(tl.float32))


@triton.jit
def normalize_kernel(
    y, scale, shift, residual, z, area, channels, total,
    RESIDUAL: tl.constexpr, RELU: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y, residual (N, c, area) → z = act(scale·y + shift + residual), total = N·c·area."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if WIDE:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    channel = at // area % channels
    value = tl.fma(
        tl.load(y + at, mask=inside, other=0.0),
        tl.load(scale + channel, mask=inside, other=0.0),
        tl.load(shift + channel, mask=inside, other=0.0),
    )
    if RESIDUAL:
        value += tl.load(residual + at, mask=inside, other=0.0)
    if RELU:
        value = tl.where(value <= 0.0, 0.0, value)  # keeps NaN
    tl.store(z + at, value, mask=inside)


@triton.jit
def backward_sums_kernel(
    grad, z, y, mean, invstd, masked, betas, gammas, area, channels, total, run,
    RELU: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of a run of a channel's `total` = N·area values: Σ g and Σ g·(y − mean)·invstd to betas, gammas (runs, c).

    With RELU g = grad where z > 0, which is also written to `masked` (N, c, area); `run` is a multiple of BLOCK.
    """
    channel = tl.program_id(0) % channels
    part = tl.program_id(0) // channels
    if WIDE:
        part = part.to(tl.int64)
    centre = tl.load(mean + channel)
    slope = tl.load(invstd + channel)
    beta = tl.zeros([BLOCK], tl.float32)
    gamma = tl.zeros([BLOCK], tl.float32)
    for begin in range(0, run, BLOCK):
        p = part * run + begin + tl.arange(0, BLOCK)
        inside = p < total
        image = p // area
        at = (image.to(tl.int64) * channels + channel) * area + (p - image * area)
        g = tl.load(grad + at, mask=inside, other=0.0)
        if RELU:
            g = tl.where(tl.load(z + at, mask=inside, other=0.0) > 0.0, g, 0.0)
            tl.store(masked + at, g, mask=inside)
        beta += g
        gamma += g * ((tl.load(y + at, mask=inside, other=0.0) - centre) * slope)
    slot = part * channels + channel
    tl.store(betas + slot, tl.sum(beta, 0))
    tl.store(gammas + slot, tl.sum(gamma, 0))


@triton.jit
def merge_sums_kernel(betas, gammas, grad_beta, grad_gamma, runs, channels, BLOCK: tl.constexpr):
    """betas, gammas (runs, c) → (c,), run by run, in float64."""
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = channel < channels
    beta = tl.zeros([BLOCK], tl.float64)
    gamma = tl.zeros([BLOCK], tl.float64)
    for part in range(runs):
        beta += tl.load(betas + part * channels + channel, mask=known, other=0.0).to(tl.float64)
        gamma += tl.load(gammas + part * channels + channel, mask=known, other=0.0).to(tl.float64)
    tl.store(grad_beta + channel, beta.to(tl.float32), mask=known)
    tl.store(grad_gamma + channel, gamma.to(tl.float32), mask=known)


@triton.jit
def backward_kernel(
    grad, y, mean, invstd, gamma, grad_beta, grad_gamma, out, area, channels, total, count,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """grad (behind the ReLU), y (N, c, area) → γ·invstd·(grad − (∂β + ŷ·∂γ)/count), ŷ = (y − mean)·invstd."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if WIDE:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    channel = at // area % channels
    slope = tl.load(invstd + channel, mask=inside, other=0.0)
    centred = (tl.load(y + at, mask=inside, other=0.0) - tl.load(mean + channel, mask=inside, other=0.0)) * slope
    common = tl.load(grad_beta + channel, mask=inside, other=0.0)
    common += centred * tl.load(grad_gamma + channel, mask=inside, other=0.0)
    value = tl.load(grad + at, mask=inside, other=0.0) - common / count
    tl.store(out + at, value * (slope * tl.load(gamma + channel, mask=inside, other=0.0)), mask=inside)
