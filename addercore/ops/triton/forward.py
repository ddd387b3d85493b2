"""Eq. 2 on a GPU: Y(f, p) = −Σ_k |X(k, p) − F(f, k)|, an implicit matrix product whose multiply is |a − b|.

Two FADD a term, one with the absolute value as an operand modifier; no instruction does it in one, and FMNMX runs at
half rate, so max forms do not pay. A program owns BF filters × BP positions of one group and keeps the sums in
registers, 8 × 8 a thread of 256. BK terms at a time are staged in shared memory, twice, the next ones loading from
global memory while this one's BK·BF·BP terms are added. Terms are added one after the other, tap by tap and channel
by channel within a tap; a term past the end is |0 − 0|. So the bits of Y depend on no block size. Error: at most
K·2⁻²⁴ relative (K terms of one sign), about √K·2⁻²⁴ in practice.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, disable-error-code="untyped-decorator"

from addercore.ops.triton.language import gl, jit, tl

RAW = tl.constexpr(0)  # Σ |X − F| of one split, to a workspace
PLAIN = tl.constexpr(1)  # Y
AFFINE = tl.constexpr(2)  # act(scale·Y + shift + residual)
MOMENTS = tl.constexpr(3)  # Y, and the mean and centred sum of squares of the tile, per filter
UNIT = tl.constexpr(16)  # terms by which work is cut into splits; a multiple of every BK


@jit
def finish(
    y, z, scale, shift, residual, means, squares, tile_p, tiles_p, first_f, filters, group, all_filters, area, total,
    BF: tl.constexpr, BP: tl.constexpr, MODE: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr,
    WIDE: tl.constexpr, L: tl.constexpr,
):  # fmt: skip
    """Writes a tile y (BF, BP) of filters × positions to z (N, c_out, H', W') as MODE says.

    `means`, `squares` (c_out, tiles_p): mean and Σ (y − mean)² over the tile's positions. Their order of summation
    depends on BP and on L's second dimension alone, which no configuration changes.
    """
    if WIDE:
        tile_p = tile_p.to(gl.int64)
    p = tile_p * BP + gl.arange(0, BP, layout=gl.SliceLayout(0, L))
    f = first_f + gl.arange(0, BF, layout=gl.SliceLayout(1, L))
    channel = group * filters + f
    known = f < filters
    image = p // area
    first = tile_p * BP // area  # of the tile's images: offsets from there fit 32 bits, which saves registers
    ahead = (image - first).to(gl.int32) * (all_filters * area) + (p - image * area).to(gl.int32)
    place = (channel * area)[:, None] + ahead[None, :]
    z += first.to(gl.int64) * (all_filters * area)
    inside = known[:, None] & (p < total)[None, :]
    if MODE == AFFINE:
        a = gl.load(scale + channel, mask=known, other=0.0)
        b = gl.load(shift + channel, mask=known, other=0.0)
        y = gl.fma(y, a[:, None], b[:, None])
        if RESIDUAL:
            residual += first.to(gl.int64) * (all_filters * area)
            y += gl.load(residual + place, mask=inside, other=0.0)
        if RELU:
            y = gl.where(y <= 0.0, 0.0, y)  # keeps NaN
    gl.store(z + place, y, mask=inside)
    if MODE == MOMENTS:
        count = gl.minimum(total - tile_p * BP, BP).to(gl.float32)
        mean = gl.sum(gl.where(inside, y, 0.0), 1) / count
        centred = gl.where(inside, y - mean[:, None], 0.0)
        slot = channel.to(gl.int64) * tiles_p + tile_p
        gl.store(means + slot, mean, mask=known)
        gl.store(squares + slot, gl.sum(centred * centred, 1), mask=known)


@jit
def forward_kernel(
    x, weight, z, scale, shift, residual, means, squares, total, channels, filters, height, width, out_height,
    out_width, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, taps, taps_w, groups, tiles_f, tiles_p, splits,
    split_units, units,
    BF: tl.constexpr, BP: tl.constexpr, BK: tl.constexpr, WARPS_F: tl.constexpr, WARPS_P: tl.constexpr,
    MODE: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr, WIDE: tl.constexpr, EVEN: tl.constexpr,
    FLAT_C: tl.constexpr, FLAT_W: tl.constexpr,
):  # fmt: skip
    """x (N, G·channels, height, width), weight packed (G, taps, channels, filters) → z (N, G·filters, H', W').

    A step stages BK channels of one tap; with FLAT_C = channels (few of them) BK terms of the flattened (tap, channel)
    axis, FLAT_W = taps_w. With MODE = RAW z is (splits, N, G·filters, H', W').
    """
    L: tl.constexpr = gl.BlockedLayout([4, 4], [4, 8], [WARPS_F, WARPS_P], [1, 0])
    WARPS: tl.constexpr = WARPS_F * WARPS_P
    ALONG: tl.constexpr = BP // 32 if BP // 32 < WARPS else WARPS  # warps along a row of positions
    LX: tl.constexpr = gl.BlockedLayout([1, 1], [1, 32], [WARPS // ALONG, ALONG], [1, 0])
    LW: tl.constexpr = gl.BlockedLayout([1, 4], [128 // BF, BF // 4], [WARPS, 1], [1, 0])
    SHARED: tl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])

    rest = gl.program_id(0)
    first_f = rest % tiles_f * BF
    rest = rest // tiles_f
    group = rest % groups
    rest = rest // groups
    split = rest % splits
    tile_p = rest // splits
    area = out_height * out_width
    plane = height * width
    first_p = tile_p * BP
    if WIDE:
        first_p = tile_p.to(gl.int64) * BP
    p = first_p + gl.arange(0, BP, layout=gl.SliceLayout(0, LX))
    image = p // area
    place = (p - image * area).to(gl.int32)
    row = place // out_width
    top = gl.where(p < total, row * stride_h - pad_h, -(1 << 30))  # a position past the end lies outside the image
    left = (place - row * out_width) * stride_w - pad_w
    window = x + (image.to(gl.int64) * groups + group) * channels * plane + (top * width + left)
    kx = gl.arange(0, BK, layout=gl.SliceLayout(1, LX))
    kw = gl.arange(0, BK, layout=gl.SliceLayout(1, LW))
    f = first_f + gl.arange(0, BF, layout=gl.SliceLayout(0, LW))
    panel = weight + (group.to(gl.int64) * taps * channels * filters + f)
    known = (f < filters)[None, :]
    sx = gl.allocate_shared_memory(gl.float32, [2, BK, BP], SHARED)
    sw = gl.allocate_shared_memory(gl.float32, [2, BK, BF], SHARED)

    step = split * split_units * (16 // BK)
    end = gl.minimum(split * split_units + split_units, units) * (16 // BK)
    chunks = (channels + 15) // 16 * 16  # terms of a tap, filled up to whole units
    tap = step * BK // chunks
    c = step * BK - tap * chunks
    r = tap // taps_w
    s = tap - r * taps_w

    acc = gl.zeros([BF, BP], gl.float32, layout=L)
    buffer = 0
    # One turn more than there are steps: turn t loads step t and adds step t − 1.
    for turn in range(step, end + 1):
        left_over = end - turn
        bottom = gl.minimum(left_over, 1) * height  # after the last step nothing is loaded
        if FLAT_C > 0:
            term = turn * BK + kx
            flat_tap = term // FLAT_C
            flat_r = flat_tap // FLAT_W
            down = flat_r * dilation_h
            right = (flat_tap - flat_r * FLAT_W) * dilation_w
            ih = top[None, :] + down[:, None]
            iw = left[None, :] + right[:, None]
            inside = (ih >= 0) & (ih < bottom) & (iw >= 0) & (iw < width) & (flat_tap < taps)[:, None]
            offset = (term - flat_tap * FLAT_C) * plane + down * width + right
            tx = gl.load(window[None, :] + offset[:, None], mask=inside, other=0.0)
            rows = turn * BK + kw
            there = rows < taps * channels
        else:
            down_ = r * dilation_h
            right_ = s * dilation_w
            ih_ = top + down_
            iw_ = left + right_
            inside_ = ((ih_ >= 0) & (ih_ < bottom) & (iw_ >= 0) & (iw_ < width))[None, :]
            if not EVEN:
                inside_ = inside_ & (c + kx < channels)[:, None]
            jump = c * plane + down_ * width + right_
            tx = gl.load(window[None, :] + (kx * plane + jump)[:, None], mask=inside_, other=0.0)
            rows = (r * taps_w + s) * channels + c + kw
            there = c + kw < channels
            c += BK
            if c >= chunks:
                c = 0
                s += 1
                if s >= taps_w:
                    s = 0
                    r += 1
        tw = gl.load(
            panel[None, :] + (rows * filters)[:, None], mask=known & (there & (kw < left_over * BK))[:, None], other=0.0
        )
        if turn > step:
            bx = sx.index(buffer)
            bw = sw.index(buffer)
            for k in gl.static_range(BK):
                a = bx.slice(k, 1, 0).load(L)
                b = bw.slice(k, 1, 0).permute([1, 0]).load(L)
                acc += gl.abs(a - b)
        buffer = 1 - buffer
        sx.index(buffer).store(tx)
        sw.index(buffer).store(tw)
    if MODE == RAW:
        z += split.to(gl.int64) * total * filters * groups
    else:
        acc = 0.0 - acc
    finish(
        acc, z, scale, shift, residual, means, squares, tile_p, tiles_p, first_f, filters, group, filters * groups,
        area, total, BF, BP, MODE, RESIDUAL, RELU, WIDE, L,
    )  # fmt: skip


@jit
def merge_kernel(
    workspace, z, scale, shift, residual, means, squares, total, filters, area, groups, tiles_f, tiles_p, splits,
    BF: tl.constexpr, BP: tl.constexpr, WARPS_F: tl.constexpr, WARPS_P: tl.constexpr, MODE: tl.constexpr,
    RESIDUAL: tl.constexpr, RELU: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """workspace (splits, N, c_out, H', W') of Σ |X − F| → z, the splits added in their order."""
    L: tl.constexpr = gl.BlockedLayout([4, 4], [4, 8], [WARPS_F, WARPS_P], [1, 0])
    rest = gl.program_id(0)
    first_f = rest % tiles_f * BF
    rest = rest // tiles_f
    group = rest % groups
    tile_p = rest // groups
    first_p = tile_p * BP
    if WIDE:
        first_p = tile_p.to(gl.int64) * BP
    p = first_p + gl.arange(0, BP, layout=gl.SliceLayout(0, L))
    f = first_f + gl.arange(0, BF, layout=gl.SliceLayout(1, L))
    image = p // area
    first = first_p // area
    ahead = (image - first).to(gl.int32) * (groups * filters * area) + (p - image * area).to(gl.int32)
    place = ((group * filters + f) * area)[:, None] + ahead[None, :]
    workspace += first.to(gl.int64) * (groups * filters * area)
    inside = (f < filters)[:, None] & (p < total)[None, :]
    acc = gl.zeros([BF, BP], gl.float32, layout=L)
    for _ in range(splits):
        acc += gl.load(workspace + place, mask=inside, other=0.0)
        workspace += total.to(gl.int64) * filters * groups
    finish(
        0.0 - acc, z, scale, shift, residual, means, squares, tile_p, tiles_p, first_f, filters, group,
        filters * groups, area, total, BF, BP, MODE, RESIDUAL, RELU, WIDE, L,
    )  # fmt: skip
