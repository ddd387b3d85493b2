"""In which order the file, and so the engine, has the weights of a layer (docs/integer.md).

A *lane* is 8 bytes of one filter. Filters stand in blocks of 8, the last one filled up with filters of zeros:

    [block of filters][step][8 filters][8 bytes of a lane]

There are two ways to cut a filter into lanes, one after the other called steps:

- `BLOCKS`: a lane is 8 channels at one tap; steps run over [block of channels][row][column]. Missing channels are 0.
- `TAPS`: for an image of few channels. A kernel's row is a run of columns · channels bytes. First come the runs' whole
  lanes, row by row; what is left of a run, r bytes, shares a lane with that of other rows, 8 // r of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from addercore.runtime.program import Adder, Dot, Op

BLOCKS: Final = 0
TAPS: Final = 1
LANE: Final = 8
FEW: Final = 4
"""Most channels of an image whose taps are packed."""
MOST_RUN: Final = 4096
"""Most bytes of a lane row in all: longer filters are not packed."""

Bytes = NDArray[Any]


def layouts(operations: Sequence[Op], channels: int) -> list[int]:
    """The layout of every operation: the image is held in one form, so all of its readers have the same."""
    readers = [operation for operation in operations if operation.source == 0]
    added = any(getattr(operation, "residual", None) == 0 for operation in operations)
    packed = channels <= FEW and not added and all(_packs(operation) for operation in readers)
    return [TAPS if packed and operation.source == 0 else BLOCKS for operation in operations]


def _packs(operation: Op) -> bool:
    if not isinstance(operation, Adder | Dot) or operation.window.groups != 1 or operation.window.dilation[1] != 1:
        return False
    if isinstance(operation, Adder) and operation.clipping is not None:
        return False
    _, channels, rows, columns = operation.weights.shape
    return steps(TAPS, channels, (rows, columns)) * LANE <= MOST_RUN


def steps(layout: int, channels: int, kernel: tuple[int, int]) -> int:
    """Lanes of one filter; `channels` are those of a group."""
    rows, columns = kernel
    if layout == BLOCKS:
        return _blocks(channels) * rows * columns
    whole, rest = divmod(columns * channels, LANE)
    return rows * whole + (-(-rows // (LANE // rest)) if rest else 0)


def pack(weights: Bytes, layout: int) -> Bytes:
    """(F, C, rows, columns) → (blocks of filters, steps, 8, 8), of the same type."""
    filters = len(weights)
    lanes = _pack_blocks(weights) if layout == BLOCKS else _pack_taps(weights)
    full = np.zeros((_blocks(filters) * LANE, *lanes.shape[1:]), weights.dtype)
    full[:filters] = lanes
    return np.ascontiguousarray(full.reshape(-1, LANE, *lanes.shape[1:]).transpose(0, 2, 1, 3))


def unpack(packed: Bytes, layout: int, shape: tuple[int, int, int, int]) -> Bytes:
    """The inverse of `pack`: the weights of `shape`."""
    filters, channels, rows, columns = shape
    lanes = packed.transpose(0, 2, 1, 3).reshape(-1, packed.shape[1], LANE)[:filters]
    if layout == BLOCKS:
        blocked = lanes.reshape(filters, _blocks(channels), rows, columns, LANE).transpose(0, 1, 4, 2, 3)
        return np.ascontiguousarray(blocked.reshape(filters, -1, rows, columns)[:, :channels])
    runs = np.zeros((filters, rows, columns * channels), packed.dtype)
    for step, first, row, begin, count in _pieces(channels, (rows, columns)):
        runs[:, row, begin : begin + count] = lanes[:, step, first : first + count]
    return np.ascontiguousarray(runs.reshape(filters, rows, columns, channels).transpose(0, 3, 1, 2))


def _pack_blocks(weights: Bytes) -> Bytes:
    filters, channels, rows, columns = weights.shape
    full = np.zeros((filters, _blocks(channels) * LANE, rows, columns), weights.dtype)
    full[:, :channels] = weights
    return full.reshape(filters, -1, LANE, rows, columns).transpose(0, 1, 3, 4, 2).reshape(filters, -1, LANE)


def _pack_taps(weights: Bytes) -> Bytes:
    filters, channels, rows, columns = weights.shape
    runs = weights.transpose(0, 2, 3, 1).reshape(filters, rows, columns * channels)
    lanes = np.zeros((filters, steps(TAPS, channels, (rows, columns)), LANE), weights.dtype)
    for step, first, row, begin, count in _pieces(channels, (rows, columns)):
        lanes[:, step, first : first + count] = runs[:, row, begin : begin + count]
    return lanes


def _pieces(channels: int, kernel: tuple[int, int]) -> list[tuple[int, int, int, int, int]]:
    """Of `TAPS`: (step, first byte in the lane, kernel's row, first byte of its run, bytes)."""
    rows, columns = kernel
    whole, rest = divmod(columns * channels, LANE)
    found = [(row * whole + lane, 0, row, lane * LANE, LANE) for row in range(rows) for lane in range(whole)]
    if rest:
        shared = LANE // rest
        for row in range(rows):
            found.append((rows * whole + row // shared, row % shared * rest, row, whole * LANE, rest))
    return found


def _blocks(count: int) -> int:
    return -(-count // LANE)
