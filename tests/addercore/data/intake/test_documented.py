"""Every row of docs/datasets-upload.md, "What is taken, and how", has a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_every_row_of_what_is_taken_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs/datasets-upload.md").read_text(encoding="utf-8")
    section = text[text.index("## What is taken, and how") : text.index("## Then")]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| what is brought")]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`(test_\w+)` \|$", row)
        assert len(named) == 1, row
        assert f"def {named[0]}(" in tests, row
