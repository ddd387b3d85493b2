"""Operations as records of 128 bytes, and the section of constants that they point into."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from addercore.runtime.layout import BLOCKS, LANE, TAPS, pack, steps, unpack
from addercore.runtime.program import LEVELS, Add, Adder, AvgPool, Clipping, Dot, MaxPool, Op, Rescale, Shape, Window

KINDS: Final[tuple[type[Op], ...]] = (Adder, Dot, MaxPool, AvgPool, Add)
"""A record's kind is the place here, from 1."""
RECORD: Final = struct.Struct("<Iiii8HII4BiQQQQIII36x")
NONE: Final = -1
ALIGNMENT: Final = 64


class Constants:
    """The section of arrays, each on a multiple of 64 bytes."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    def add(self, *arrays: NDArray[Any]) -> int:
        """Appends arrays, each aligned; returns the first one's offset."""
        at = [self._append(array) for array in arrays]
        return at[0]

    def _append(self, array: NDArray[Any]) -> int:
        self.content += bytes(-len(self.content) % ALIGNMENT)
        at = len(self.content)
        self.content += array.astype(array.dtype.newbyteorder("<")).tobytes()
        return at

    def array(self, offset: int, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """The array at an offset; `ValueError` where it is not inside."""
        size = math.prod(shape) * np.dtype(kind).itemsize
        if offset % ALIGNMENT or offset + size > len(self.content):
            raise ValueError(f"an array of {size} bytes at {offset} lies outside of {len(self.content)} bytes of data")
        found = np.frombuffer(self.content, f"<{kind}", math.prod(shape), offset)
        return found.reshape(shape).astype(np.dtype(kind), copy=True)


def encode(operation: Op, layout: int, data: Constants, name: tuple[int, int]) -> bytes:
    """An operation's record; its arrays go to `data`.

    Args:
        operation: of a program that was checked.
        layout: of its weights; `BLOCKS` where it has none.
        data: gets the arrays.
        name: where its name stands among the names: offset, length.

    Returns:
        128 bytes.
    """
    window, filters, weights, clipping = Window((1, 1)), 0, 0, 0
    groups = 0
    if isinstance(operation, MaxPool):
        size, stride, padding = operation.size, operation.stride, operation.padding
        window = Window((size, size), (stride, stride), (padding, padding))
    elif isinstance(operation, Adder | Dot):
        window, filters = operation.window, len(operation.weights)
        weights = data.add(pack(operation.weights, layout))
    rescale = None if isinstance(operation, MaxPool) else operation.rescale
    multiplier, bias = (
        (0, 0) if rescale is None else (data.add(_full(rescale.multiplier)), data.add(_full(rescale.bias)))
    )
    if isinstance(operation, Adder) and operation.clipping is not None:
        clips = operation.clipping
        groups = len(clips.tables)
        clipping = data.add(_full(clips.group), clips.tables, clips.excess, _full(clips.excess_multiplier))
    residual = getattr(operation, "residual", None)
    shift, top, extra = (0, 0, 0) if rescale is None else (rescale.shift, rescale.top, rescale.residual_multiplier)
    return RECORD.pack(
        KINDS.index(type(operation)) + 1,
        *(operation.source, operation.target, NONE if residual is None else residual),
        *(*window.kernel, *window.stride, *window.padding, *window.dilation),
        *(window.groups, filters),
        *(window.pad, top, shift, layout, extra),
        *(weights, multiplier, bias, clipping, groups, *name),
    )


def decode(record: bytes, values: tuple[Shape, ...], data: Constants, names: bytes) -> tuple[Op, int]:
    """The operation of a record, and the layout of its weights; `ValueError` where it cannot be one.

    Args:
        record: 128 bytes.
        values: shapes of the values.
        data: the section of arrays.
        names: the section of names.

    Returns:
        The operation, as yet unchecked against the others.
    """
    kind, source, target, residual, *numbers = RECORD.unpack(record)
    kernel, stride, padding, dilation = (tuple(numbers[at : at + 2]) for at in (0, 2, 4, 6))
    groups, filters, pad, top, shift, layout, extra = numbers[8:15]
    weights, multiplier, bias, clipping, clips, name_at, name_size = numbers[15:]
    if not 1 <= kind <= len(KINDS) or not 0 <= source < len(values) or layout not in (BLOCKS, TAPS):
        raise ValueError(f"an operation of kind {kind} from value {source} with layout {layout} does not exist")
    if name_at + name_size > len(names):
        raise ValueError("an operation's name lies outside of the names")
    name = names[name_at : name_at + name_size].decode()
    channels = values[source][0]
    made = KINDS[kind - 1]
    if made is MaxPool:
        if any(one != other for one, other in (kernel, stride, padding)):
            raise ValueError(f"{name!r} pools a window that is no square")
        return MaxPool(name, source, target, kernel[0], stride[0], padding[0]), layout
    outputs = filters if made in (Adder, Dot) else channels
    rescale = Rescale(
        data.array(multiplier, (_full_size(outputs),), "i4")[:outputs],
        data.array(bias, (_full_size(outputs),), "i8")[:outputs],
        *(shift, top, extra),
    )
    if made is AvgPool:
        return AvgPool(name, source, target, rescale), layout
    added = None if residual == NONE else residual
    if made is Add:
        return Add(name, source, target, rescale, residual), layout
    if groups < 1 or min(kernel) < 1:
        raise ValueError(f"{name!r} has {groups} groups and a kernel of {kernel}")
    window = Window(kernel, stride, padding, dilation, groups, pad)
    shape = (filters, channels // groups, *kernel)
    packed = data.array(
        weights,
        (_full_size(filters) // LANE, steps(layout, shape[1], kernel), LANE, LANE),
        "u1" if made is Adder else "i1",
    )
    layer = (name, source, target, unpack(packed, layout, shape), window, rescale, added)
    if made is Dot:
        return Dot(*layer), layout
    return Adder(*layer, _clipping(data, clipping, clips, filters) if clips else None), layout


def _clipping(data: Constants, offset: int, groups: int, filters: int) -> Clipping:
    arrays = []
    for shape, kind in (
        ((_full_size(filters),), "u1"),
        ((groups, LEVELS), "u1"),
        ((groups, LEVELS), "u2"),
        ((_full_size(filters),), "i4"),
    ):
        arrays.append(data.array(offset, shape, kind))
        offset += -(-arrays[-1].nbytes // ALIGNMENT) * ALIGNMENT
    return Clipping(arrays[0][:filters], arrays[1], arrays[2], arrays[3][:filters])


def _full_size(count: int) -> int:
    return -(-count // LANE) * LANE


def _full(array: NDArray[Any]) -> NDArray[Any]:
    """With zeros up to a multiple of 8."""
    return np.pad(array, (0, _full_size(len(array)) - len(array)))
