"""The definition of an integer network's numbers, in plain numpy. Every engine gives the same, bit for bit.

It is slow and short on purpose: what a reader checks an engine by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from addercore.runtime.program import I64, SCORES, U8, Add, Adder, AvgPool, Dot, MaxPool, Op, Program, Rescale, Window

F32 = NDArray[np.float32]


def run(program: Program, images: U8) -> F32:
    """Scores of images.

    Args:
        program: the network.
        images: uint8 (N, C, H, W).

    Returns:
        float32 (N, classes).
    """
    return np.stack([trace(program, image)[SCORES] for image in images]).reshape(len(images), program.classes)


def trace(program: Program, image: U8) -> dict[int, NDArray[Any]]:
    """Every value of one image (C, H, W), by number; `SCORES` too."""
    codes = np.stack([table[channel] for table, channel in zip(program.tables, image, strict=True)])
    values: dict[int, NDArray[Any]] = {0: codes}
    for operation in program.operations:
        values[operation.target] = computed(operation, values)
    return values


def computed(operation: Op, values: Mapping[int, NDArray[Any]]) -> NDArray[Any]:
    """What one operation makes of the values that it reads, by number: codes (C, H, W), or scores (classes,)."""
    source = values[operation.source]
    match operation:
        case MaxPool():
            padded = _padded(source, (operation.padding, operation.padding), 0)
            windows = sliding_window_view(padded, (operation.size, operation.size), axis=(1, 2))
            greatest: NDArray[Any] = windows[:, :: operation.stride, :: operation.stride].max(axis=(-2, -1))
            return greatest
        case AvgPool():
            total = source.astype(np.int64).sum(axis=(1, 2), keepdims=True)
            return _rescaled(total, operation.rescale, None, operation.target)
        case Add():
            return _rescaled(source.astype(np.int64), operation.rescale, values[operation.residual], operation.target)
        case Adder() | Dot():
            residual = None if operation.residual is None else values[operation.residual]
            acc, more = sums(operation, source)
            return _rescaled(acc, operation.rescale, residual, operation.target, more)


def sums(operation: Adder | Dot, source: U8) -> tuple[I64, I64 | None]:
    """The sums of a layer, before its rescaling.

    Args:
        operation: the layer.
        source: codes (C, H, W).

    Returns:
        acc (F, H', W'), and what clipping adds before the shift, None without clipping.
    """
    window = operation.window
    filters = len(operation.weights)
    each = filters // window.groups
    channels = len(source) // window.groups
    found, more = [], []
    for number, weight in enumerate(operation.weights.astype(np.int64)):
        first = number // each * channels
        seen = source[first : first + channels]
        if isinstance(operation, Dot):
            found.append((_windows(seen, window, window.pad) * weight).sum(axis=(2, 3, 4)))
            continue
        clipping = operation.clipping
        if clipping is None:
            found.append(np.abs(_windows(seen, window, window.pad) - weight).sum(axis=(2, 3, 4)))
            continue
        table, above = (one[clipping.group[number]] for one in (clipping.tables, clipping.excess))
        found.append(np.abs(_windows(table[seen], window, int(table[window.pad])) - weight).sum(axis=(2, 3, 4)))
        excess = _windows(above[seen], window, int(above[window.pad])).sum(axis=(2, 3, 4))
        more.append(excess * int(clipping.excess_multiplier[number]))
    return np.stack(found), np.stack(more) if more else None


def _windows(source: NDArray[Any], window: Window, pad: int) -> I64:
    """(C, H, W) → (H', W', C, kernel height, kernel width)."""
    padded = _padded(source, window.padding, pad).astype(np.int64)
    spans = tuple((size - 1) * step + 1 for size, step in zip(window.kernel, window.dilation, strict=True))
    views = sliding_window_view(padded, spans, axis=(1, 2))[
        :, :: window.stride[0], :: window.stride[1], :: window.dilation[0], :: window.dilation[1]
    ]
    return views.transpose(1, 2, 0, 3, 4)


def _padded(source: NDArray[Any], padding: tuple[int, int], pad: int) -> NDArray[Any]:
    vertical, horizontal = padding
    return np.pad(source, ((0, 0), (vertical, vertical), (horizontal, horizontal)), constant_values=pad)


def _rescaled(
    acc: I64, rescale: Rescale, residual: NDArray[Any] | None, target: int, more: I64 | None = None
) -> NDArray[Any]:
    value = acc * rescale.multiplier.astype(np.int64)[:, None, None] + rescale.bias[:, None, None]
    if more is not None:
        value = value + more
    if residual is not None:
        value = value + residual.astype(np.int64) * rescale.residual_multiplier
    if target == SCORES:
        return np.ldexp(value.astype(np.float64), -rescale.shift).astype(np.float32).reshape(-1)
    shifted = (value + (1 << (rescale.shift - 1))) >> rescale.shift
    return shifted.clip(0, rescale.top).astype(np.uint8)
