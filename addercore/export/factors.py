"""Whether a program multiplies, and how often."""

from __future__ import annotations

import math
from typing import Any, Final

from addercore.runtime.program import SCORES, Adder, AvgPool, Dot, MaxPool, Op, Program

POWERS: Final = frozenset({0} | {1 << place for place in range(32)})
"""Sizes of a factor that needs no multiplication."""


def are_powers(*factors: Any) -> bool:
    """Whether each number is 0 or plus or minus a power of two, so that a shift does instead of a multiplication.

    Args:
        factors: integers or integer arrays.
    """
    return all(abs(int(number)) in POWERS for one in factors for number in _flat(one))


def _flat(one: Any) -> list[int]:
    return [one] if isinstance(one, int) else one.reshape(-1).tolist()


def is_shifting(program: Program) -> bool:
    """Whether all multipliers are plus or minus powers of two: a program that was quantised with rescale "shift"."""
    return all(are_powers(*factors_of(operation)) for operation in program.operations)


def factors_of(operation: Op) -> tuple[Any, ...]:
    """The multipliers of an operation: of its sums, of its residual if it has one, of what its clipping cut off."""
    if isinstance(operation, MaxPool):
        return ()
    found: tuple[Any, ...] = (operation.rescale.multiplier,)
    if not isinstance(operation, AvgPool) and operation.residual is not None:
        found += (operation.rescale.residual_multiplier,)
    if isinstance(operation, Adder) and operation.clipping is not None:
        found += (operation.clipping.excess_multiplier,)
    return found


def multiplications(program: Program) -> int:
    """Integer multiplications of data that one image takes.

    Products of `Dot` layers, and of factors that are no powers of two; those of one operation's channels are counted
    alike. Multiplications that only say where in an array a number lies do not count.
    """
    return sum(_of(operation, program) for operation in program.operations)


def _of(operation: Op, program: Program) -> int:
    if isinstance(operation, MaxPool):
        return 0
    filters = len(operation.rescale.multiplier)
    positions = 1 if operation.target == SCORES else math.prod(program.values[operation.target][1:])
    outputs = filters * positions
    found = sum(outputs for factor in factors_of(operation) if not are_powers(factor))
    if isinstance(operation, Dot):
        found += outputs * operation.weights[0].size
    return found
