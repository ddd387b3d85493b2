"""What is no program is refused, with the operation's name and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.runtime import format, load
from addercore.runtime.checks import check
from addercore.runtime.program import SCORES, Adder, Clipping, Dot, MaxPool, Program, Rescale, Window
from tests.addercore.runtime.programs import random_program


def rescale(filters: int, **changes: Any) -> Rescale:
    return replace(Rescale(np.ones(filters, np.int32), np.zeros(filters, np.int64), 8, 255), **changes)


def program(first: dict[str, Any] | None = None, last: dict[str, Any] | None = None, **changes: Any) -> Program:
    """Two layers, with changed fields."""
    layer = Adder("inner", 0, 1, np.zeros((4, 3, 3, 3), np.uint8), Window((3, 3), padding=(1, 1)), rescale(4))
    end = Dot("end", 1, SCORES, np.zeros((2, 4, 5, 5), np.int8), Window((5, 5)), rescale(2, top=0))
    layers = (replace(layer, **(first or {})), replace(end, **(last or {})))
    made = Program((3, 5, 5), np.zeros((3, 256), np.uint8), ((3, 5, 5), (4, 5, 5)), layers)
    return replace(made, **changes)


def clipping(**changes: Any) -> Clipping:
    tables = np.zeros((2, 256), np.uint8)
    whole = Clipping(np.zeros(4, np.uint8), tables, tables.astype(np.uint16), np.zeros(4, np.int32))
    return replace(whole, **changes)


REFUSED: dict[str, tuple[Callable[[], Program], str]] = {
    "no operations": (lambda: program(operations=()), "has 1…4096 operations"),
    "an empty value": (lambda: program(values=((3, 5, 5), (4, 0, 5))), "value 1 has the shape"),
    "another image": (lambda: program(input_shape=(3, 5, 6)), "value 0 has the shape .* but the image"),
    "short tables": (lambda: program(tables=np.zeros((3, 255), np.uint8)), r"tables: uint8 \(3, 255\) instead of"),
    "unwritten source": (lambda: program({"source": 1}), "operation 0 .'inner'.: its source, value 1, has not been"),
    "written again": (lambda: program({"target": 0}), "its target 0 is no value"),
    "scores too early": (lambda: program({"target": SCORES}), "the last operation, and no other"),
    "no scores": (lambda: program(last={"target": 1}), "value 1 is written a second time"),
    "a value that nobody writes": (
        lambda: program(values=((3, 5, 5), (4, 5, 5), (1, 1, 1))),
        r"values \[2\] are written",
    ),
    "another target": (
        lambda: program({"window": Window((3, 3))}),
        r"it gives \(4, 3, 3\), but value 1 is \(4, 5, 5\)",
    ),
    "a large window": (
        lambda: program(last={"window": Window((6, 6))}),
        "a window of 6 .dilation 1. does not fit 5 rows",
    ),
    "no stride": (
        lambda: program({"window": Window((3, 3), (0, 1), (1, 1))}),
        "stride is .0, 1., and each must be 1…1024",
    ),
    "groups": (
        lambda: program({"window": Window((3, 3), padding=(1, 1), groups=2)}),
        "groups 2 must divide 3 channels",
    ),
    "weights of another type": (
        lambda: program({"weights": np.zeros((4, 3, 3, 3), np.int8)}),
        r"'inner'.: weights: int8 .* instead of uint8",
    ),
    "pad": (lambda: program({"window": Window((3, 3), padding=(1, 1), pad=256)}), "pad 256 is no code"),
    "shift": (lambda: program({"rescale": rescale(4, shift=63)}), "shift 63 is not 1…62"),
    "top": (lambda: program({"rescale": rescale(4, top=256)}), "top 256 is no greatest code"),
    "top of scores": (lambda: program(last={"rescale": rescale(2)}), "top 255 must be 0 for scores"),
    "residual": (lambda: program({"residual": 0}), r"the residual is \(3, 5, 5\), but the target \(4, 5, 5\)"),
    "residual_multiplier": (
        lambda: program({"rescale": rescale(4, residual_multiplier=1)}),
        "without a residual; make it 0",
    ),
    "bias": (
        lambda: program({"rescale": rescale(4, bias=np.full(4, 2**63 - 1))}),
        "could overflow 64 bits; take smaller multipliers",
    ),
    "the least bias": (lambda: program({"rescale": rescale(4, bias=np.full(4, -(2**63)))}), "could overflow 64 bits"),
    "clipping's group": (lambda: program({"clipping": clipping(group=np.full(4, 2, np.uint8))}), "names group 2 of 2"),
    "clipping's tables": (
        lambda: program({"clipping": clipping(excess=np.zeros((2, 256), np.uint8))}),
        "clipping.excess: uint8 .* instead of uint16",
    ),
    "only padding": (
        lambda: program(
            values=((3, 5, 5), (3, 4, 4)), operations=(MaxPool("pool", 0, 1, 2, 2, 2), program().operations[1])
        ),
        "padding 2 must be less than the window, 2",
    ),
}


def test_the_program_by_itself_is_one() -> None:
    check(program())
    check(program({"clipping": clipping()}))


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_inconsistent_is_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        check(make())


def test_sums_beyond_32_bits_are_refused() -> None:
    def of(channels: int) -> Program:
        shape = (channels, 16, 16)
        weights = np.zeros((1, *shape), np.int8)
        layer = Dot("wide", 0, SCORES, weights, Window((16, 16)), rescale(1, top=0))
        return Program(shape, np.zeros((channels, 256), np.uint8), (shape,), (layer,))

    check(of(256))
    with pytest.raises(ValueError, match=r"'wide'.: 66048 terms of up to 32640 could overflow .* may have 65793 terms"):
        check(of(258))


def test_what_running_costs_is_the_same_number_in_both_readers(tmp_path: Path) -> None:
    for seed in range(40):
        program = random_program(seed)
        format.write(program, tmp_path / "model.adder")
        assert load(tmp_path / "model.adder").terms == program.terms, seed
