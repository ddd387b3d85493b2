"""The pictures of docs/command.md are what the command shows today."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text

from tests.docs import pictures
from tests.docs.example_service import example_service


@pytest.mark.long("two servers and 36 commands")
def test_the_page_is_what_the_script_writes() -> None:
    assert pictures.PAGE.read_text(encoding="utf-8") == pictures.written(), "run: python -m tests.docs.pictures"


def test_every_picture_fits_its_terminal_and_is_the_same_without_colour(tmp_path: Path) -> None:
    with example_service(tmp_path) as example:
        for width in pictures.WIDTHS:
            for command in ("adder jobs", "adder models", "adder sweeps", "adder datasets", "adder show @last"):
                coloured = pictures.run(command, example.url, width)
                plain = pictures.run(command, example.url, width, NO_COLOR="1")
                assert Text.from_ansi(coloured).plain.rstrip() == Text.from_ansi(plain).plain.rstrip()
                assert "\x1b[3" not in plain
                assert "\x1b[" in coloured
                if command != "adder datasets":  # whose remarks are sentences, which the terminal wraps
                    assert max(cell_len(line) for line in Text.from_ansi(plain).plain.splitlines()) <= width, command


def test_lines_that_were_drawn_over_are_not_seen() -> None:
    drawn = "a\nb\n\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2Kc\nd\n"
    assert pictures.seen(f"before\n{drawn}") == "before\nc\nd\n"
