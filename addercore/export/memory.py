"""Which bytes of one buffer each value of a program lies in: values that are not needed at the same time share them."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    """Gives each value the first gap that is wide enough among the values alive beside it.

    An operation's target never overlaps what the operation reads, so no loop has to care for the order of its writes.
    """
    written = {0: -1} | {one.target: number for number, one in enumerate(program.operations) if one.target != SCORES}
    last = dict(written)
    for number, operation in enumerate(program.operations):
        for value in reads(operation):
            last[value] = number
    begins: dict[int, int] = {}
    sizes = [math.prod(shape) for shape in program.values]
    for value in sorted(written, key=written.__getitem__):
        beside = sorted(
            (begins[other], begins[other] + sizes[other]) for other in begins if last[other] >= written[value]
        )
        at = 0
        for begin, end in beside:
            if begin - at >= sizes[value]:
                break
            at = max(at, end)
        begins[value] = at
    size = max(begins[value] + sizes[value] for value in begins)
    return Places(tuple(begins[value] for value in range(len(sizes))), size)
