"""The page of limits has every one of them, with its default."""

from __future__ import annotations

import re

from jobs.settings import GIB, KIB, MIB, Settings
from tests.docs.markdown import ROOT

ROW = re.compile(r"^\| `ADDER_(\w+)` \| ([^|]*) \|", re.MULTILINE)
UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
ELSEWHERE = {"max_log_bytes"}
"""Bounds what a training writes, not a request."""


def value_of(text: str) -> object:
    number, _, unit = text.partition(" ")
    return () if number == "empty" else int(number) * UNITS.get(unit, 1)


def test_every_limit_is_on_the_page_with_its_default() -> None:
    rows = {name.lower(): text for name, text in ROW.findall((ROOT / "docs/request-limits.md").read_text())}
    fields = Settings.model_fields
    for name, text in rows.items():
        assert (fields[name].default or ()) == value_of(text), name
    bounds = {name for name in fields if name.startswith(("max_", "min_", "inference_m", "drop_", "body_", "header_"))}
    assert bounds - ELSEWHERE - set(rows) == set()


def test_compose_passes_every_limit_on() -> None:
    composed = (ROOT / "docker-compose.yml").read_text()
    rows = ROW.findall((ROOT / "docs/request-limits.md").read_text())
    assert [name for name, _ in rows if f"ADDER_{name}:" not in composed] == []
