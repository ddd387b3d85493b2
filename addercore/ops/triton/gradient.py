"""Eqs. 6 and 7 on a GPU: ∂X(c, p) = Σ_{f, tap} g(f, q) · clamp(F(f, c, tap) − X(c, p), −1, 1), q the output at tap.

Gather form: a program owns BC channels × BP input positions, keeps X and the sums in registers, and walks over
(tap, filter). Two instructions a term: with F' = F/2 + 1/2 and X' = X/2,

    clamp(F − X, −1, 1) = 2 · sat(F' − X') − 1,   sat(v) = min(max(v, 0), 1),

so the sum is 2 Σ g·sat(F' − X') − Σ g: a subtraction with saturation (FADD.SAT) and a fused multiply-add (FFMA); Σ g
does not depend on the channel and is subtracted once. With a stride, positions are cut into parity classes, within
which the same taps contribute. Order of summation: taps, and filters within a tap; a term past the end is 0·0.

Errors scale with Σ|g|, not with the result: F' rounds to 2⁻²⁵·max(1, |F|), so at most (K·2⁻²³ + 2⁻²³·max(1, |F|, |X|))
· Σ|g|. A NaN in X gives NaN, but one in F alone saturates to 0 and counts as a difference ≤ −1.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, disable-error-code="untyped-decorator"

import triton

from addercore.ops.triton.language import gl, jit, tl

CLASS_FIELDS = 10
"""Of a parity class, int32: first row, first column, rows, columns, taps down, taps right, first tap row, first tap
column, and the output row and column that meet the class's first position at its first tap."""


@triton.jit
def sum_filters_kernel(grad, sums, filters, area, total, BLOCK: tl.constexpr):
    """grad (N·G, filters, area) → sums (N·G, area), total = N·G·area: Σ_f g, filter by filter."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    image = p // area
    here = grad + image * filters * area + (p - image * area)
    acc = tl.zeros([BLOCK], tl.float32)
    for _ in range(filters):
        acc += tl.load(here, mask=p < total, other=0.0)
        here += area
    tl.store(sums + p, acc, mask=p < total)


@jit
def place(p, first, rows, columns):
    """Of positions (BP,) of a class with `rows` × `columns` an image: image − first, row and column."""
    image = p // (rows * columns)
    rest = (p - image * (rows * columns)).to(gl.int32)
    row = rest // columns
    return (image - first).to(gl.int32), row, rest - row * columns


@jit
def grad_input_kernel(
    grad, x, weight, sums, out, classes, images, channels, filters, height, width, out_height, out_width,
    stride_h, stride_w, skip_h, skip_w, step_h, step_w, taps, kernel_w, groups, tiles_c, tiles_p, splits,
    BC: tl.constexpr, BP: tl.constexpr, BK: tl.constexpr, WARPS_C: tl.constexpr, WARPS_P: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """grad (N, G·filters, H', W'), x (N, G·channels, height, width), weight F/2 + 1/2 packed (G, taps, filters,
    channels), sums (N, G, H', W') → out (N, G·channels, height, width).

    `classes` (classes, CLASS_FIELDS); a class's taps are skip_h and skip_w apart, and the outputs that they meet
    step_h and step_w. With several splits out is (splits, …), to be added up; the first one has the − Σ g.
    """
    L: tl.constexpr = gl.BlockedLayout([4, 4], [4, 8], [WARPS_C, WARPS_P], [1, 0])
    WARPS: tl.constexpr = WARPS_C * WARPS_P
    ALONG: tl.constexpr = BP // 32 if BP // 32 < WARPS else WARPS
    LG: tl.constexpr = gl.BlockedLayout([1, 1], [1, 32], [WARPS // ALONG, ALONG], [1, 0])
    LW: tl.constexpr = gl.BlockedLayout([1, 4], [128 // BC, BC // 4], [WARPS, 1], [1, 0])
    SHARED: tl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])

    rest = gl.program_id(0)
    first_c = rest % tiles_c * BC
    rest = rest // tiles_c
    group = rest % groups
    rest = rest // groups
    split = rest % splits
    rest = rest // splits
    tile_p = rest % tiles_p
    fields = classes + rest // tiles_p * 10
    first_row = gl.load(fields)
    first_column = gl.load(fields + 1)
    rows = gl.load(fields + 2)
    columns = gl.load(fields + 3)
    taps_h = gl.load(fields + 4)
    taps_w = gl.load(fields + 5)
    tap_row = gl.load(fields + 6)
    tap_column = gl.load(fields + 7)
    oh = gl.load(fields + 8)
    ow = gl.load(fields + 9)
    first_p = tile_p * BP
    total = images * rows * columns
    if WIDE:
        first_p = tile_p.to(gl.int64) * BP
        total = rows.to(gl.int64) * columns * images
    plane = height * width
    area = out_height * out_width

    p = first_p + gl.arange(0, BP, layout=gl.SliceLayout(0, L))
    c = first_c + gl.arange(0, BC, layout=gl.SliceLayout(1, L))
    # Offsets count from the tile's first image and fit 32 bits, which saves registers.
    first = first_p // (rows * columns)
    base = (first.to(gl.int64) * groups + group) * channels * plane
    image, i, j = place(p, first, rows, columns)
    pixel = image * (groups * channels * plane) + (first_row + i * stride_h) * width + first_column + j * stride_w
    inside = (c < channels)[:, None] & (p < total)[None, :]
    half_x = gl.load(x + base + (pixel[None, :] + (c * plane)[:, None]), mask=inside, other=0.0) * 0.5

    # The same positions and a step's filters, in the layouts in which they are loaded.
    q = first_p + gl.arange(0, BP, layout=gl.SliceLayout(0, LG))
    image_q, row_q, column_q = place(q, first, rows, columns)
    row_q = gl.where(q < total, row_q + oh, -(1 << 30))  # a position past the end meets no output
    column_q += ow
    base_g = (first.to(gl.int64) * groups + group) * filters * area
    at_g = grad + base_g + (image_q * (groups * filters * area) + row_q * out_width + column_q)
    kg = gl.arange(0, BK, layout=gl.SliceLayout(1, LG))
    kw = gl.arange(0, BK, layout=gl.SliceLayout(1, LW))
    cw = first_c + gl.arange(0, BC, layout=gl.SliceLayout(0, LW))
    weight += group.to(gl.int64) * taps * filters * channels + cw
    known = (cw < channels)[None, :]
    sg = gl.allocate_shared_memory(gl.float32, [2, BK, BP], SHARED)
    sw = gl.allocate_shared_memory(gl.float32, [2, BK, BC], SHARED)

    chunks = (filters + 15) // 16 * 16
    units = taps_h * taps_w * (chunks // 16)
    each = (units + splits - 1) // splits
    step = gl.minimum(split * each, units) * (16 // BK)
    end = gl.minimum(split * each + each, units) * (16 // BK)
    tap = step * BK // chunks
    f = step * BK - tap * chunks
    r = tap // gl.maximum(taps_w, 1)
    s = tap - r * taps_w

    acc = gl.zeros([BC, BP], gl.float32, layout=L)
    buffer = 0
    # One turn more than there are steps: turn t loads step t and adds step t − 1.
    for turn in range(step, end + 1):
        left_over = end - turn
        bottom = gl.minimum(left_over, 1) * out_height  # after the last step nothing is loaded
        up = r * step_h
        back = s * step_w
        oh_q = row_q - up
        ow_q = column_q - back
        met = (oh_q >= 0) & (oh_q < bottom) & (ow_q >= 0) & (ow_q < out_width)
        jump = f * area - up * out_width - back
        tg = gl.load(
            at_g[None, :] + (kg * area + jump)[:, None], mask=met[None, :] & (f + kg < filters)[:, None], other=0.0
        )
        tap_at = (tap_row + r * skip_h) * kernel_w + tap_column + s * skip_w
        there = ((f + kw < filters) & (kw < left_over * BK))[:, None] & known
        tw = gl.load(weight[None, :] + ((tap_at * filters + f + kw) * channels)[:, None], mask=there, other=0.0)
        f += BK
        if f >= chunks:
            f = 0
            s += 1
            if s >= taps_w:
                s = 0
                r += 1
        if turn > step:
            bg = sg.index(buffer)
            bw = sw.index(buffer)
            for k in gl.static_range(BK):
                g = bg.slice(k, 1, 0).load(L)
                w = bw.slice(k, 1, 0).permute([1, 0]).load(L)
                acc = gl.fma(gl.minimum(gl.maximum(w - half_x, 0.0), 1.0), g, acc)
        buffer = 1 - buffer
        sg.index(buffer).store(tg)
        sw.index(buffer).store(tw)

    # f ≥ 0 here, which the compiler does not know: it makes positions and addresses anew, where it would keep a hundred
    # numbers in registers through the loop, and spill.
    p += gl.minimum(f, 0)
    c += gl.minimum(f, 0)
    image, i, j = place(p, first, rows, columns)
    pixel = image * (groups * channels * plane) + (first_row + i * stride_h) * width + first_column + j * stride_w
    acc = gl.where(half_x != half_x, half_x, acc * 2.0)
    if split == 0:
        own = sums + (first.to(gl.int64) * groups + group) * area + image * (groups * area)
        all_g = gl.zeros([BP], gl.float32, layout=gl.SliceLayout(0, L))
        for r_ in range(taps_h):
            row = i + (oh - r_ * step_h)
            for s_ in range(taps_w):
                column = j + (ow - s_ * step_w)
                hit = (row >= 0) & (row < out_height) & (column >= 0) & (column < out_width) & (p < total)
                all_g += gl.load(own + (row * out_width + column), mask=hit, other=0.0)
        acc = acc - all_g[None, :]
    inside = (c < channels)[:, None] & (p < total)[None, :]
    out += split.to(gl.int64) * images * groups * channels * plane
    gl.store(out + base + (pixel[None, :] + (c * plane)[:, None]), acc, mask=inside)


@triton.jit
def add_splits_kernel(workspace, out, total, splits, BLOCK: tl.constexpr):
    """workspace (splits, total) → out (total), the splits added in their order."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros([BLOCK], tl.float32)
    for _ in range(splits):
        acc += tl.load(workspace + at, mask=at < total, other=0.0)
        workspace += total
    tl.store(out + at, acc, mask=at < total)
