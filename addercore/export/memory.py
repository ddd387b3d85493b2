"""Which bytes of one buffer each value of a program lies in: values that are not needed at the same time share them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from addercore.places import first_fit
from addercore.runtime.program import SCORES, AvgPool, MaxPool, Op, Program


@dataclass(frozen=True, slots=True)
class Places:
    """Where values lie.

    Attributes:
        offsets: byte of the buffer where each value begins, by number.
        size: bytes of the buffer.
    """

    offsets: tuple[int, ...]
    size: int


def reads(operation: Op) -> tuple[int, ...]:
    """Numbers of the values that an operation reads: its source, then its residual if it has one."""
    residual = None if isinstance(operation, MaxPool | AvgPool) else operation.residual
    return (operation.source,) if residual is None else (operation.source, residual)


def placed(program: Program) -> Places:
    """Places the values of a program, in bytes."""
    written = {0: -1} | {one.target: number for number, one in enumerate(program.operations) if one.target != SCORES}
    last = dict(written)
    for number, operation in enumerate(program.operations):
        for value in reads(operation):
            last[value] = number
    numbers, sizes = range(len(program.values)), [math.prod(shape) for shape in program.values]
    return Places(*first_fit(sizes, [written[value] for value in numbers], [last[value] for value in numbers]))
