"""Whether a program is one: shapes that fit, values in order, sums that cannot overflow.

`check` is asked when a program is made and when one is read from a file. The engine in C checks the same by itself,
since it may be given files of any origin.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from addercore.runtime.program import (
    LEVELS,
    SCORES,
    Add,
    Adder,
    AvgPool,
    Clipping,
    Dot,
    MaxPool,
    Op,
    Program,
    Rescale,
    Shape,
)

MOST_SIDE: Final = 65_535
"""Most channels, rows, columns or filters."""
MOST_CODES: Final = 2**28
"""Most codes of one value."""
MOST_WINDOW: Final = 1024
"""Largest kernel, stride, padding or dilation."""
MOST_VALUES: Final = 4096
MOST_GROUPS: Final = 64
"""Most groups of a clipping."""
MOST_SUM: Final = 2**31 - 1
MOST_TOTAL: Final = 2**63 - 1
MOST_MANIFEST: Final = 2**24


def check(program: Program) -> None:
    """Refuses a program that is inconsistent, or whose sums could leave 32 bits or whose totals could leave 64.

    Args:
        program: any.

    Raises:
        ValueError: with the operation's name, what is wrong, and what would be right.
    """
    _check_shapes(program)
    written = {0}
    for number, operation in enumerate(program.operations):
        where = f"operation {number} ({operation.name!r})"
        _check_numbers(where, operation, program, written)
        is_last = number == len(program.operations) - 1
        if (operation.target == SCORES) != is_last:
            raise ValueError(f"{where}: the last operation, and no other, has the target SCORES ({SCORES})")
        if not is_last:
            written.add(operation.target)
        _check_operation(where, operation, program)
    if missing := set(range(len(program.values))) - written:
        raise ValueError(f"values {sorted(missing)} are written by no operation; leave them out")


def shape_after(operation: Op, source: Shape) -> Shape:
    """The shape that an operation gives to its target; `ValueError` where its window does not fit the source."""
    channels, height, width = source
    match operation:
        case Add():
            return source
        case AvgPool():
            return channels, 1, 1
        case MaxPool():
            kernel, stride = (operation.size, operation.size), (operation.stride, operation.stride)
            padding, dilation, filters = (operation.padding, operation.padding), (1, 1), channels
        case Adder() | Dot():
            window = operation.window
            kernel, stride, padding, dilation = window.kernel, window.stride, window.padding, window.dilation
            filters = len(operation.weights)
    for name, pair, least in (
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if not all(least <= number <= MOST_WINDOW for number in pair):
            raise ValueError(f"{name} is {pair}, and each must be {least}…{MOST_WINDOW}")
    sides = []
    for side, size, step, pad, apart in zip((height, width), kernel, stride, padding, dilation, strict=True):
        room = side + 2 * pad - ((size - 1) * apart + 1)
        if room < 0:
            raise ValueError(
                f"a window of {size} (dilation {apart}) does not fit {side} rows or columns padded by {pad}"
            )
        sides.append(room // step + 1)
    return filters, sides[0], sides[1]


def _check_shapes(program: Program) -> None:
    if not 1 <= len(program.operations) <= MOST_VALUES or not 1 <= len(program.values) <= MOST_VALUES:
        raise ValueError(f"a program has 1…{MOST_VALUES} operations, and as many values")
    for number, shape in enumerate(program.values):
        if (
            len(shape) != 3
            or not all(1 <= side <= MOST_SIDE for side in shape)
            or np.prod(shape, dtype=object) > MOST_CODES
        ):
            raise ValueError(
                f"value {number} has the shape {shape}: 3 sides of 1…{MOST_SIDE}, at most {MOST_CODES} codes"
            )
    if program.values[0] != program.input_shape:
        raise ValueError(f"value 0 has the shape {program.values[0]}, but the image {program.input_shape}")
    _check_array("tables", program.tables, np.uint8, (program.input_shape[0], LEVELS))


def _check_numbers(where: str, operation: Op, program: Program, written: set[int]) -> None:
    read = {"source": operation.source}
    if not isinstance(operation, MaxPool | AvgPool) and operation.residual is not None:
        read["residual"] = operation.residual
    for name, number in read.items():
        if number not in written:
            raise ValueError(f"{where}: its {name}, value {number}, has not been written before")
    if operation.target != SCORES and not 0 < operation.target < len(program.values):
        raise ValueError(f"{where}: its target {operation.target} is no value: 1…{len(program.values) - 1}, or SCORES")
    if operation.target in written:
        raise ValueError(f"{where}: value {operation.target} is written a second time")


def _check_operation(where: str, operation: Op, program: Program) -> None:
    source = program.values[operation.source]
    try:
        shape = shape_after(operation, source)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if operation.target == SCORES:
        if not isinstance(operation, Adder | Dot) or shape[1:] != (1, 1):
            raise ValueError(f"{where}: scores come from an Adder or Dot with one position, not {shape[1:]}")
    elif program.values[operation.target] != shape:
        raise ValueError(
            f"{where}: it gives {shape}, but value {operation.target} is {program.values[operation.target]}"
        )
    if isinstance(operation, MaxPool):
        if operation.padding >= operation.size:
            raise ValueError(f"{where}: padding {operation.padding} must be less than the window, {operation.size}")
        return
    residual = operation.residual if not isinstance(operation, AvgPool) else None
    if residual is not None and program.values[residual] != shape:
        raise ValueError(f"{where}: the residual is {program.values[residual]}, but the target {shape}")
    if isinstance(operation, Adder | Dot):
        _check_layer(where, operation, source)
    _check_rescale(where, operation, shape[0], residual is not None)
    _check_range(where, operation, source)


def _check_layer(where: str, operation: Adder | Dot, source: Shape) -> None:
    window = operation.window
    filters = len(operation.weights)
    if not 1 <= filters <= MOST_SIDE:
        raise ValueError(f"{where}: {filters} filters; there are 1…{MOST_SIDE}")
    if window.groups < 1 or source[0] % window.groups or filters % window.groups:
        raise ValueError(f"{where}: groups {window.groups} must divide {source[0]} channels and {filters} filters")
    kind = np.uint8 if isinstance(operation, Adder) else np.int8
    _check_array(f"{where}: weights", operation.weights, kind, (filters, source[0] // window.groups, *window.kernel))
    if not 0 <= window.pad < LEVELS:
        raise ValueError(f"{where}: pad {window.pad} is no code (0…255)")
    if isinstance(operation, Adder) and operation.clipping is not None:
        _check_clipping(where, operation.clipping, filters)


def _check_clipping(where: str, clipping: Clipping, filters: int) -> None:
    groups = len(clipping.tables)
    if not 1 <= groups <= MOST_GROUPS:
        raise ValueError(f"{where}: clipping has {groups} groups; there are 1…{MOST_GROUPS}")
    _check_array(f"{where}: clipping.group", clipping.group, np.uint8, (filters,))
    _check_array(f"{where}: clipping.tables", clipping.tables, np.uint8, (groups, LEVELS))
    _check_array(f"{where}: clipping.excess", clipping.excess, np.uint16, (groups, LEVELS))
    _check_array(f"{where}: clipping.excess_multiplier", clipping.excess_multiplier, np.int32, (filters,))
    if int(clipping.group.max()) >= groups:
        raise ValueError(f"{where}: clipping.group names group {clipping.group.max()} of {groups}")


def _check_rescale(where: str, operation: Adder | Dot | AvgPool | Add, channels: int, has_residual: bool) -> None:
    rescale = operation.rescale
    _check_array(f"{where}: multiplier", rescale.multiplier, np.int32, (channels,))
    _check_array(f"{where}: bias", rescale.bias, np.int64, (channels,))
    if not 1 <= rescale.shift <= 62:
        raise ValueError(f"{where}: shift {rescale.shift} is not 1…62")
    if operation.target == SCORES:
        if rescale.top != 0:
            raise ValueError(f"{where}: top {rescale.top} must be 0 for scores, which are not clamped")
    elif not 1 <= rescale.top < LEVELS:
        raise ValueError(f"{where}: top {rescale.top} is no greatest code (1…255)")
    if not -(2**31) <= rescale.residual_multiplier < 2**31:
        raise ValueError(f"{where}: residual_multiplier {rescale.residual_multiplier} does not fit 32 bits")
    if not has_residual and rescale.residual_multiplier != 0:
        raise ValueError(f"{where}: residual_multiplier is {rescale.residual_multiplier} without a residual; make it 0")


def _check_range(where: str, operation: Adder | Dot | AvgPool | Add, source: Shape) -> None:
    """Sums in 32 bits and totals in 64, whatever the weights and codes are."""
    terms, greatest = _terms(operation, source)
    most = terms * greatest
    if most > MOST_SUM:
        raise ValueError(
            f"{where}: {terms} terms of up to {greatest} could overflow the 32-bit sum; "
            f"a layer may have {MOST_SUM // greatest} terms an output"
        )
    rescale: Rescale = operation.rescale
    total = most * _magnitude(rescale.multiplier) + _magnitude(rescale.bias) + (1 << (rescale.shift - 1))
    total += (LEVELS - 1) * abs(rescale.residual_multiplier)
    if isinstance(operation, Adder) and operation.clipping is not None:
        total += terms * int(operation.clipping.excess.max()) * _magnitude(operation.clipping.excess_multiplier)
    if total > MOST_TOTAL:
        raise ValueError(f"{where}: sum · multiplier + bias could overflow 64 bits; take smaller multipliers and shift")


def _terms(operation: Adder | Dot | AvgPool | Add, source: Shape) -> tuple[int, int]:
    """Terms of an output's sum, and the greatest magnitude of one."""
    match operation:
        case Adder():
            return int(np.prod(operation.weights.shape[1:], dtype=object)), LEVELS - 1
        case Dot():
            return int(np.prod(operation.weights.shape[1:], dtype=object)), (LEVELS - 1) * 128
        case AvgPool():
            return source[1] * source[2], LEVELS - 1
        case Add():
            return 1, LEVELS - 1


def _magnitude(array: Any) -> int:
    """The greatest absolute value, as Python's integer: that of −2^63 fits no int64."""
    return max(abs(int(array.min())), abs(int(array.max())))


def _check_array(what: str, array: Any, kind: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != kind or array.shape != shape:
        raise ValueError(f"{what}: {array.dtype} {array.shape} instead of {np.dtype(kind)} {shape}")
