"""How numbers, sizes and times read."""

from __future__ import annotations

import pytest

from api.jobs.view import title
from api.web import formats

SECOND = 1000  # ms


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [(-3, "just now"), (4, "just now"), (5, "5 s ago"), (60, "1 min ago"), (3600, "1 h ago"), (86_400, "1 d ago")],
)
def test_ages(age: int, text: str) -> None:
    assert formats.ago(1_000_000 * SECOND, (1_000_000 + age) * SECOND) == text


def test_old_things_have_a_date() -> None:
    assert formats.ago(0, 40 * 86_400 * SECOND) == "1970-01-01"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (44_600, "44.6 kB"), (177_704, "178 kB"), (1_234_567_890, "1.2 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(44426, "44,426"), (0.113249, "0.11325"), (3.0, "3"), (True, "–"), (float("nan"), "–"), ("x", "–")],
)
def test_numbers(value: object, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (999_999, "999,999"),
        (3_198_873_600, "3.2 billion"),
        (27 * 10**11, "2.7 trillion"),
        (10**19, "10,000 quadrillion"),
    ],
)
def test_operations(count: int, text: str) -> None:
    assert formats.operations(count) == f"{text} operations"


def test_titles_bear_with_specs_of_other_versions() -> None:
    assert title("train", {"model": {"arch": "a", "method": "adder"}, "dataset": {"name": "d"}}) == ("a", "adder", "d")
    assert title("train", {"model": None, "dataset": "odd"}) == ("train",)
    assert title("analyze", {"recipe": "table1", "dataset": {"name": "d"}}) == ("table1", "d")
    assert title("quantize", {}) == ("quantize",)
