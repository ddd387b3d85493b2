"""Parity classes: input positions to which the same taps of a strided filter contribute."""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import torch
from torch import Tensor

from addercore.ops.geometry import Geometry


@dataclass(frozen=True, slots=True)
class AxisClass:
    """Along one axis: positions first, first + stride, …; taps first_tap, first_tap + skip, …; `meets`: the output
    position that the first tap pairs with the first position (negative where that lies outside)."""

    first: int
    count: int
    taps: int
    first_tap: int
    meets: int


@dataclass(frozen=True, slots=True)
class Classes:
    """`table` (classes, 10) int32, see gradient.CLASS_FIELDS, those with the most taps first."""

    table: Tensor
    skip: tuple[int, int]
    step: tuple[int, int]
    largest: int  # positions of the largest class, of one image
    busy: int  # classes to which any tap contributes
    taps: int  # most taps of a class


def axis_classes(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[AxisClass]:
    """Position i meets output (i + padding − r·dilation)/stride at tap r, where that is whole."""
    skip = stride // gcd(stride, dilation)
    found = []
    for first in range(min(stride, size)):
        fitting = [r for r in range(min(skip, kernel)) if (first + padding - r * dilation) % stride == 0]
        tap = fitting[0] if fitting else 0
        taps = -(-(kernel - tap) // skip) if fitting else 0
        found.append(
            AxisClass(first, -(-(size - first) // stride), taps, tap, (first + padding - tap * dilation) // stride)
        )
    return found


@lru_cache(maxsize=256)
def classes(size: tuple[int, int], kernel: tuple[int, int], geometry: Geometry, device: torch.device) -> Classes:
    """Of an input (H, W); kept, because the table is copied to the device."""
    down, right = (
        axis_classes(size[a], kernel[a], geometry.stride[a], geometry.padding[a], geometry.dilation[a]) for a in (0, 1)
    )
    pairs = sorted(((a, b) for a in down for b in right), key=lambda pair: -pair[0].taps * pair[1].taps)
    rows = [
        (a.first, b.first, a.count, b.count, a.taps, b.taps, a.first_tap, b.first_tap, a.meets, b.meets)
        for a, b in pairs
    ]
    common = [gcd(geometry.stride[a], geometry.dilation[a]) for a in (0, 1)]
    return Classes(
        torch.tensor(rows, dtype=torch.int32, device=device),
        (geometry.stride[0] // common[0], geometry.stride[1] // common[1]),
        (geometry.dilation[0] // common[0], geometry.dilation[1] // common[1]),
        max(a.count * b.count for a, b in pairs),
        sum(1 for a, b in pairs if a.taps * b.taps),
        max(a.taps * b.taps for a, b in pairs),
    )
