"""`model.adder`: what was written comes back, and nothing else is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.arch.manifest import INTEGER_MAGIC
from addercore.errors import BadModel
from addercore.runtime import format, layout
from addercore.runtime.program import Program
from tests.addercore.runtime.programs import random_program


def plain(thing: Any) -> Any:
    """Arrays as lists with their types, so that == compares them."""
    if isinstance(thing, np.ndarray):
        return str(thing.dtype), thing.shape, thing.tolist()
    if dataclasses.is_dataclass(thing):
        return type(thing).__name__, [plain(getattr(thing, field.name)) for field in dataclasses.fields(thing)]
    return [plain(one) for one in thing] if isinstance(thing, tuple | list) else thing


@pytest.mark.parametrize("seed", range(40))
def test_a_program_comes_back(seed: int, tmp_path: Path) -> None:
    program = random_program(seed)
    format.write(program, tmp_path / "model.adder")
    assert plain(format.read(tmp_path / "model.adder")) == plain(program)


def test_equal_programs_give_equal_bytes() -> None:
    assert format.to_bytes(random_program(3)) == format.to_bytes(random_program(3))


@pytest.mark.parametrize(("channels", "kernel"), [(1, (5, 5)), (3, (3, 3)), (3, (11, 11)), (4, (2, 2)), (2, (1, 4))])
def test_packed_taps_come_back(channels: int, kernel: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).integers(0, 256, (9, channels, *kernel), dtype=np.uint8)
    packed = layout.pack(weights, layout.TAPS)
    assert packed.shape == (2, layout.steps(layout.TAPS, channels, kernel), 8, 8)
    assert (layout.unpack(packed, layout.TAPS, weights.shape) == weights).all()


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_every_changed_bit_is_noticed() -> None:
    content = format.to_bytes(random_program(11))
    padding = 0
    for at in range(0, len(content), max(1, len(content) // 400)):
        try:
            format.from_bytes(changed(content, at))
        except ValueError:
            continue
        padding += 1  # between sections, which no checksum covers
    assert padding <= 20


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    content = format.to_bytes(random_program(11))
    for size in (0, 1, 63, 64, 255, 256, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.adder").write_bytes(content[:size])
        with pytest.raises(BadModel, match="take the file from its source again"):
            format.read(tmp_path / "cut.adder")


def test_other_files_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x89PNG" * 100)
    with pytest.raises(BadModel, match="no adder model"):
        format.read(tmp_path / "x")
    with pytest.raises(BadModel, match="cannot be read"):
        format.read(tmp_path / "nothing")
    later = bytearray(format.to_bytes(random_program(1)))
    later[8] = 2
    (tmp_path / "x").write_bytes(later)
    with pytest.raises(BadModel, match="format version 2; this program reads version 1"):
        format.read(tmp_path / "x")


def a_layer(program: Program) -> Program:
    """Its last operation, with a multiplier that overflows."""
    last = program.operations[-1]
    rescale = dataclasses.replace(last.rescale, bias=np.full_like(last.rescale.bias, 2**63 - 1))  # type: ignore[union-attr]
    return dataclasses.replace(
        program, operations=(*program.operations[:-1], dataclasses.replace(last, rescale=rescale))
    )


def test_what_could_overflow_is_not_written() -> None:
    with pytest.raises(ValueError, match="could overflow 64 bits"):
        format.to_bytes(a_layer(random_program(2)))


def test_the_half_without_numpy_knows_the_file_by_the_same_bytes() -> None:
    assert INTEGER_MAGIC == format.MAGIC
