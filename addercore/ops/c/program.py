"""Several layers as one call into the C library, on packed filters and buffers that are made once."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from addercore.ops.c.backend import CBackend, Shape
from addercore.places import first_fit

LAYER, MAX_POOL, ADD = range(3)
"""Kinds of steps, as src/adder.h numbers them."""
INPUT, OUTPUT, NONE = -1, -2, -3
"""What is no place in the arena."""

CACHE: Final = 131_072
"""Floats of values that a part of the images may have: they stay in a core's second-level cache."""
WORTH_A_THREAD: Final = 200_000
"""Terms below which a further thread costs more than it saves."""
_LINE: Final = 16
"""Floats of a cache line; places are multiples of it."""


class _Step(ctypes.Structure):
    """The struct `adder_step` of src/adder.h."""

    _fields_ = [
        ("kind", ctypes.c_int64),
        ("shape", Shape),
        *((name, ctypes.c_int64) for name in ("x", "residual", "y")),
        *((name, ctypes.c_void_p) for name in ("packed", "scale", "shift")),
        ("relu", ctypes.c_int64),
    ]


class _Memory(ctypes.Structure):
    """The struct `adder_memory` of src/adder.h."""

    _fields_ = [
        *(("x", ctypes.c_void_p), ("x_size", ctypes.c_int64)),
        *(("y", ctypes.c_void_p), ("y_size", ctypes.c_int64)),
        *(("arena", ctypes.c_void_p), ("arena_size", ctypes.c_int64)),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of a program; values are numbers, 0 is the program's input.

    Attributes:
        kind: `LAYER`, `MAX_POOL` or `ADD`.
        shape: of the layer or the pooling, for any number of images; of an addition (C, H, W) alone.
        source: the value that is read.
        target: the value that is written, by no other step.
        residual: a further value that is added, if any.
        relu: whether a ReLU is at the end.
        packed: a layer's filters, as `packed` gives them.
        affine: a layer's (scale, shift), each (F,), if any.
    """

    kind: int
    shape: Shape
    source: int
    target: int
    residual: int | None = None
    relu: bool = False
    packed: Tensor | None = None
    affine: tuple[Tensor, Tensor] | None = None

    @property
    def terms(self) -> int:
        """Taps of all outputs of one image."""
        s = self.shape
        return int(s.F * s.OH * s.OW * (s.C // s.groups) * s.KH * s.KW) if self.kind == LAYER else 0


def packed(backend: CBackend, shape: Shape, weight: Tensor) -> Tensor:
    """Filters (F, C/groups, kh, kw) in float32 as the kernels read them, in one dimension."""
    found = weight.new_empty(backend.library.adder_packed_size(backend.isa, shape))
    backend.library.adder_pack(backend.isa, shape, weight.data_ptr(), found.data_ptr())
    return found


class Program:
    """Steps for images of one shape. It may be run from several threads at once.

    Args:
        backend: whose kernels run.
        steps: in order; the last one writes the output.
        shapes: of each value for one image, by number; the first is the input's, the last the output's.
    """

    def __init__(self, backend: CBackend, steps: Sequence[Step], shapes: Sequence[tuple[int, ...]]) -> None:
        self._backend, self._steps = backend, tuple(steps)
        self._sizes = [math.prod(shape) for shape in shapes]
        self._output, self._shape = self._steps[-1].target, shapes[self._steps[-1].target]
        self._terms = sum(step.terms for step in steps)
        places, self._arena_size = self._placed()
        weights = sum(step.packed.numel() for step in steps if step.packed is not None)
        # Parts of so many images that reading the filters again for each costs no more than reading its values.
        self._images = max(1, max(CACHE, weights) // max(1, self._arena_size))
        self._filled = (_Step * len(steps))(*(self._step(step, places) for step in steps))
        self._arenas: list[Tensor] = []

    def _placed(self) -> tuple[dict[int, int], int]:
        """Where the values between input and output begin, and the arena's floats for an image."""
        written, last = {}, {}
        for number, step in enumerate(self._steps):
            written[step.target] = last[step.target] = number
            for value in (step.source, step.residual):
                if value:
                    last[value] = number
        inner = [value for value in written if value != self._output]
        sizes = [-(-self._sizes[value] // _LINE) * _LINE for value in inner]
        begins, size = first_fit(sizes, [written[value] for value in inner], [last[value] for value in inner])
        return {0: INPUT, self._output: OUTPUT, **dict(zip(inner, begins, strict=True))}, size

    def _step(self, step: Step, places: dict[int, int]) -> _Step:
        pointers = (None if one is None else one.data_ptr() for one in (step.packed, *(step.affine or (None, None))))
        residual = NONE if step.residual is None else places[step.residual]
        return _Step(
            *(step.kind, step.shape, places[step.source], residual, places[step.target], *pointers, int(step.relu))
        )

    def run(self, x: Tensor) -> Tensor:
        """(N, *shape of the input) → (N, *shape of the output), in float32 on the CPU, contiguous.

        Raises:
            MemoryError: the kernels found no scratch memory.
        """
        count, threads = len(x), torch.get_num_threads()
        outside = threads if count >= threads and count * self._terms >= threads * WORTH_A_THREAD else 1
        images = min(self._images, -(-count // outside))
        arena = self._arena(outside * images * self._arena_size)
        y = x.new_empty((count, *self._shape))
        memory = _Memory(
            *(x.data_ptr(), self._sizes[0], y.data_ptr(), self._sizes[self._output]),
            *(arena.data_ptr(), self._arena_size),
        )
        status = self._backend.library.adder_evaluate(
            *(self._backend.isa, self._filled, len(self._filled), count, images, ctypes.byref(memory)),
            *(outside, threads if outside == 1 else 1),
        )
        self._arenas.append(arena)
        if status != 0:
            raise MemoryError("the adder kernels could not allocate their scratch memory")
        return y

    def _arena(self, size: int) -> Tensor:
        """One that no other thread uses; `list.pop` is atomic."""
        try:
            found = self._arenas.pop()
        except IndexError:
            return torch.empty(size)
        return found if found.numel() >= size else torch.empty(size)
