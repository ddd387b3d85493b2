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
