"""Eq. 4 on a GPU, for the ablation: ∂F(f, k) = Σ_p g(f, p) · sgn(X(k, p) − F(f, k)).

A program owns ROWS filters × TERMS (channel, tap) pairs and a run of positions; runs are added afterwards, in their
order. Not tuned: the paper trains with eq. 5, whose gradient is a matrix product.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, disable-error-code="untyped-decorator"

import triton

from addercore.ops.triton.language import tl


@triton.jit
def grad_sign_kernel(
    grad, x, weight, out, total, run, channels, filters, height, width, out_height, out_width, stride_h, stride_w,
    pad_h, pad_w, dilation_h, dilation_w, taps, taps_w, groups, tiles_f, tiles_k,
    ROWS: tl.constexpr, TERMS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """grad (N, G·filters, H', W'), x (N, G·channels, height, width), weight (G·filters, channels·taps) →
    out (runs, G·filters, channels·taps); `run` positions a run, a multiple of STEP."""
    rest = tl.program_id(0)
    first_f = rest % tiles_f * ROWS
    rest = rest // tiles_f
    first_k = rest % tiles_k * TERMS
    rest = rest // tiles_k
    group = rest % groups
    part = rest // groups
    area = out_height * out_width
    size = channels * taps
    f = first_f + tl.arange(0, ROWS)
    k = first_k + tl.arange(0, TERMS)
    channel = k // taps
    down = (k - channel * taps) // taps_w * dilation_h - pad_h
    right = (k - channel * taps) % taps_w * dilation_w - pad_w
    known = (f < filters)[:, None] & (k < size)[None, :]
    at = (group * filters + f).to(tl.int64)[:, None] * size + k[None, :]
    own = tl.load(weight + at, mask=known, other=0.0)
    acc = tl.zeros([ROWS, TERMS], tl.float32)
    first_p = part.to(tl.int64) * run
    for begin in range(0, run, STEP):
        p = first_p + begin + tl.arange(0, STEP)
        image = p // area
        place = (p - image * area).to(tl.int32)
        row = (place // out_width * stride_h)[None, :] + down[:, None]
        column = (place % out_width * stride_w)[None, :] + right[:, None]
        there = (p < total)[None, :]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width) & (k < size)[:, None] & there
        image = image * groups + group
        tap = (image * channels * height * width)[None, :] + (channel[:, None] * height + row) * width + column
        taken = tl.load(x + tap, mask=inside, other=0.0)  # (TERMS, STEP)
        from_g = (image * filters * area + place)[None, :] + f[:, None] * area
        g = tl.load(grad + from_g, mask=(f < filters)[:, None] & there, other=0.0)  # (ROWS, STEP)
        less = own[:, :, None] < taken[None, :, :]
        more = own[:, :, None] > taken[None, :, :]
        signed = tl.where(less, g[:, None, :], tl.where(more, 0.0 - g[:, None, :], 0.0))
        acc += tl.sum(signed, 2)
    tl.store(out + part.to(tl.int64) * groups * filters * size + at, acc, mask=known)
