"""The part of Gluon that the kernels use, spelled in Triton's language, for Triton's interpreter.

Gluon has no interpreter. Its kernels differ from Triton's in two things only: tensors carry layouts, which say which
thread holds which element and change no value, and shared memory is explicit. Here layouts are dropped and a shared
buffer is an array, so the kernels' own source, not a copy of it, runs on CPU tensors. What this cannot show are
races: barriers are the compiler's business (it inserts them from its own analysis of shared memory).
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import TensorHandle

constexpr = tl.constexpr
float32, float64, int32, int64 = tl.float32, tl.float64, tl.int32, tl.int64


def BlockedLayout(*_):  # noqa: N802 - Gluon's names
    return None


def SwizzledSharedLayout(*_):  # noqa: N802
    return None


def SliceLayout(*_):  # noqa: N802
    return None


def _plain(value: Any) -> int:
    """A loop index or a constant as an int: they arrive as ints, constants or one-element tensors."""
    value = getattr(value, "value", value)
    return int(value.handle.data.item()) if isinstance(value, tl.tensor) else int(value)


class _Shared:
    """A shared buffer, or a view into one. Fresh memory is NaN, so that a read before the write shows."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def index(self, position):
        return _Shared(self.data[_plain(position)])

    def slice(self, start, length, dim):
        cut = [slice(None)] * self.data.ndim
        cut[_plain(dim)] = slice(_plain(start), _plain(start) + _plain(length))
        return _Shared(self.data[tuple(cut)])

    def permute(self, order):
        return _Shared(self.data.transpose(order))

    def store(self, value):
        if value.handle.data.shape != self.data.shape:
            raise ValueError(f"a tile of {value.handle.data.shape} does not fit a buffer of {self.data.shape}")
        self.data[...] = value.handle.data

    def load(self, _layout):
        return tl.tensor(
            TensorHandle(np.ascontiguousarray(self.data), tl.float32), tl.block_type(tl.float32, list(self.data.shape))
        )


def allocate_shared_memory(_dtype, shape, _layout):
    return _Shared(np.full([_plain(size) for size in shape], np.nan, np.float32))


def program_id(axis):
    return tl.program_id(axis)


def arange(start, end, layout=None):
    return tl.arange(start, end)


def zeros(shape, dtype, layout=None):
    return tl.full(shape, 0, dtype)


def load(pointer, mask=None, other=None):
    return tl.load(pointer, mask=mask, other=other)


def store(pointer, value, mask=None):
    return tl.store(pointer, value, mask=mask)


def where(condition, x, y):
    return tl.where(condition, x, y)


def abs(value):
    return tl.abs(value)


def minimum(x, y):
    return tl.minimum(x, y)


def maximum(x, y):
    return tl.maximum(x, y)


def fma(x, y, z):
    return tl.fma(x, y, z)


def sum(value, axis):
    return tl.sum(value, axis)


def static_range(*bounds):
    return range(*(_plain(bound) for bound in bounds))
