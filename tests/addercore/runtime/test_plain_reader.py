"""The page docs/integer.md says enough: a reader in plain Python, written from it, gives the engine's scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from addercore.runtime import format, load
from tests.addercore.runtime.plain_reader import Model
from tests.addercore.runtime.programs import random_images, random_program

SMALL = 150_000
"""Terms of a network that plain Python computes in a second or less."""


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    text = (Path(__file__).parent / "plain_reader.py").read_text()
    assert len(text.splitlines()) <= 150
    assert not [line for line in text.splitlines() if "import" in line and ("addercore." in line or "numpy" in line)][
        1:
    ]


@pytest.mark.parametrize("part", range(3))
def test_scores_are_equal(part: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(300 + 30 * part, 330 + 30 * part):
        program = random_program(seed)
        format.write(program, tmp_path / "model.adder")
        opened = load(tmp_path / "model.adder")
        if opened.terms > SMALL:
            continue
        image = random_images(program, 1, seed)
        plain = Model((tmp_path / "model.adder").read_bytes()).scores(image[0].tolist())
        assert plain == opened.run(image)[0].tolist(), seed
        compared += 1
    assert compared >= 5
