"""From tensors to launches: packed filters, grids, splits and their merging."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from addercore.ops.geometry import Geometry
from addercore.ops.triton import forward, gradient, moments, sign, tuning
from addercore.ops.triton.classes import classes
from addercore.ops.triton.tuning import Tile

INT32 = 2**31
MOST_POSITIONS = 128
SIGN_PROGRAMS = 2048
BLOCK = 1024
OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}
"""Multiply-adds are fused where the kernels say so and nowhere else: the bits are the source's, not the compiler's."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What the forward does with a sum: a `mode` of forward.py, and AFFINE's operands, (c_out,) or like z."""

    mode: int
    scale: Tensor | None = None
    shift: Tensor | None = None
    residual: Tensor | None = None
    relu: bool = False


PLAIN = Epilogue(forward.PLAIN.value)
MOMENTS = Epilogue(forward.MOMENTS.value)


def affine(scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Epilogue:
    return Epilogue(forward.AFFINE.value, scale, shift, residual, relu)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a call, checked to fit the kernels' 32-bit offsets within an image and a group's filters."""

    images: int
    channels: int  # of a group
    filters: int  # of a group
    groups: int
    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def area(self) -> int:
        return self.out[0] * self.out[1]


def shape_of(x: Tensor, weight: Tensor, geometry: Geometry) -> Shape:
    kernel = (weight.shape[2], weight.shape[3])
    size = (x.shape[2], x.shape[3])
    out = geometry.output_size(size, kernel)
    # A tile's offsets count from its first image; of a strided gradient its positions lie stride² apart.
    apart = geometry.stride[0] * geometry.stride[1]
    spans = {
        "an input image": x.shape[1] * (2 * size[0] * size[1] + MOST_POSITIONS * apart),
        "an output image": weight.shape[0] * (2 * out[0] * out[1] + MOST_POSITIONS),
        "weight": weight.numel(),
    }
    for name, elements in spans.items():
        if elements >= INT32:
            raise ValueError(
                f"{name} is too large for the triton backend's 32-bit offsets, {elements} is not below 2³¹: "
                f"got input {tuple(x.shape)}, weight {tuple(weight.shape)}; cut it up or name the portable backend"
            )
    groups = geometry.groups
    return Shape(x.shape[0], weight.shape[1], weight.shape[0] // groups, groups, size, out, kernel)


def _wide(total: int) -> bool:
    """Whether positions need 64 bits, the last tile's surplus included."""
    return total + MOST_POSITIONS >= INT32


def _packed(weight: Tensor, shape: Shape, order: tuple[int, ...]) -> Tensor:
    """(c_out, c_in/G, kh, kw) → (G, taps, …) with `order` of (G, filters, channels, taps)."""
    split = weight.view(shape.groups, shape.filters, shape.channels, shape.taps)
    return split.permute(order).contiguous()


def run_forward(x: Tensor, weight: Tensor, geometry: Geometry, epilogue: Epilogue) -> tuple[Tensor, Tensor, Tensor]:
    """(z, tile means, tile sums of squares); the last two are empty but for MOMENTS, (c_out, tiles)."""
    s = shape_of(x, weight, geometry)
    total = s.images * s.area
    z = x.new_empty((s.images, s.groups * s.filters, *s.out))
    width = tuning.positions(total)
    tiles_p = -(-total // width)
    moments_wanted = epilogue.mode == forward.MOMENTS.value
    means, squares = (x.new_empty((weight.shape[0], tiles_p if moments_wanted else 0)) for _ in range(2))
    if total == 0:
        return z, means, squares
    flat = s.channels if s.channels % tuning.UNIT and s.channels < 2 * tuning.UNIT else 0
    units = -(-s.taps * s.channels // tuning.UNIT) if flat else s.taps * -(-s.channels // tuning.UNIT)
    nominal = tiles_p * -(-s.filters // tuning.NOMINAL_ROWS) * s.groups
    splits, each = tuning.splits(nominal, units)
    packed = _packed(weight, s, (0, 3, 2, 1))
    target = z if splits == 1 else x.new_empty((splits, *z.shape))
    mode = epilogue.mode if splits == 1 else forward.RAW.value
    none = z  # a pointer that is not followed
    tail = (epilogue.scale, epilogue.shift, epilogue.residual, means, squares)
    operands = tuple(none if tensor is None else tensor for tensor in tail)
    flags = {
        "MODE": mode, "RESIDUAL": epilogue.residual is not None, "RELU": epilogue.relu, "WIDE": _wide(total),
    }  # fmt: skip

    def run(tile: Tile) -> None:
        tiles_f = -(-s.filters // tile.rows)
        forward.forward_kernel[(tiles_f * s.groups * splits * tiles_p,)](
            x, packed, target, *operands, total, s.channels, s.filters, *s.size, *s.out, *geometry.stride,
            *geometry.padding, *geometry.dilation, s.taps, s.kernel[1], s.groups, tiles_f, tiles_p, splits, each, units,
            BF=tile.rows, BP=width, BK=tile.depth, WARPS_F=tile.warps, WARPS_P=width // 64,
            EVEN=s.channels % tuning.UNIT == 0, FLAT_C=flat, FLAT_W=s.kernel[1] if flat else 0,
            num_warps=tile.warps * (width // 64), **flags, **OPTIONS,
        )  # fmt: skip

    key = ("forward", x.device, s, geometry, mode)
    run(tuning.choose(key, tuning.FORWARD, s.filters, x.device, run))
    if splits > 1:
        rows = 16
        tiles_f = -(-s.filters // rows)
        forward.merge_kernel[(tiles_f * s.groups * tiles_p,)](
            target, z, *operands, total, s.filters, s.area, s.groups, tiles_f, tiles_p, splits,
            BF=rows, BP=width, WARPS_F=1, WARPS_P=width // 64, num_warps=width // 64,
            **(flags | {"MODE": epilogue.mode}), **OPTIONS,
        )  # fmt: skip
    return z, means, squares


def merged_moments(means: Tensor, squares: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Tile moments (c_out, tiles) → (mean, biased variance), (c_out,) each, of `total` positions."""
    filters, tiles = means.shape
    mean, variance = (means.new_empty(filters) for _ in range(2))
    if total == 0:
        return mean.fill_(torch.nan), variance.fill_(torch.nan)
    moments.merge_moments_kernel[(filters,)](
        means, squares, mean, variance, tiles, total, BP=tuning.positions(total), BLOCK=128, num_warps=1, **OPTIONS
    )
    return mean, variance


def run_grad_input(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Eqs. 6, 7: (N, c_in, H, W)."""
    s = shape_of(x, weight, geometry)
    out = torch.empty_like(x)
    if x.numel() == 0:
        return out
    found = classes(s.size, s.kernel, geometry, x.device)
    sums = x.new_empty((s.images, s.groups, *s.out))
    gradient.sum_filters_kernel[(-(-sums.numel() // BLOCK),)](
        grad, sums, s.filters, s.area, sums.numel(), BLOCK=BLOCK, **OPTIONS
    )
    largest = s.images * found.largest
    width = tuning.positions(largest)
    tiles_p = -(-largest // width)
    nominal = tiles_p * found.busy * -(-s.channels // tuning.NOMINAL_ROWS) * s.groups
    splits, _ = tuning.splits(nominal, found.taps * -(-s.filters // tuning.UNIT))
    packed = _packed(torch.add(weight.new_tensor(0.5), weight, alpha=0.5), s, (0, 3, 1, 2))
    target = out if splits == 1 else x.new_empty((splits, *out.shape))

    def run(tile: Tile) -> None:
        tiles_c = -(-s.channels // tile.rows)
        gradient.grad_input_kernel[(tiles_c * s.groups * splits * tiles_p * len(found.table),)](
            grad, x, packed, sums, target, found.table, s.images, s.channels, s.filters, *s.size, *s.out,
            *geometry.stride, *found.skip, *found.step, s.taps, s.kernel[1], s.groups, tiles_c, tiles_p, splits,
            BC=tile.rows, BP=width, BK=tile.depth, WARPS_C=tile.warps, WARPS_P=width // 64, WIDE=_wide(largest),
            num_warps=tile.warps * (width // 64), **OPTIONS,
        )  # fmt: skip

    key = ("grad_input", x.device, s, geometry)
    run(tuning.choose(key, tuning.GRADIENT, s.channels, x.device, run))
    if splits > 1:
        gradient.add_splits_kernel[(-(-out.numel() // BLOCK),)](
            target, out, out.numel(), splits, BLOCK=BLOCK, **OPTIONS
        )
    return out


def run_grad_sign(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Eq. 4: of weight's shape."""
    s = shape_of(x, weight, geometry)
    total = s.images * s.area
    if total == 0:
        return torch.zeros_like(weight)
    rows, terms, step = 16, 16, 32
    tiles_f, tiles_k = -(-s.filters // rows), -(-s.channels * s.taps // terms)
    wanted = min(-(-SIGN_PROGRAMS // (tiles_f * tiles_k * s.groups)), -(-total // (8 * step)))
    run = -(-total // (wanted * step)) * step
    runs = -(-total // run)
    parts = weight.new_empty((runs, *weight.shape))
    sign.grad_sign_kernel[(tiles_f * tiles_k * s.groups * runs,)](
        grad, x, weight, parts, total, run, s.channels, s.filters, *s.size, *s.out, *geometry.stride,
        *geometry.padding, *geometry.dilation, s.taps, s.kernel[1], s.groups, tiles_f, tiles_k,
        ROWS=rows, TERMS=terms, STEP=step, num_warps=4, **OPTIONS,
    )  # fmt: skip
    if runs == 1:
        return parts[0]
    out = torch.empty_like(weight)
    gradient.add_splits_kernel[(-(-out.numel() // BLOCK),)](parts, out, out.numel(), runs, BLOCK=BLOCK, **OPTIONS)
    return out
