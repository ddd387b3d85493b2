"""How numbers, sizes and times read."""

from __future__ import annotations

import pytest

from api.jobs.job_view import job_title
from api.web import formats

SECOND = 1000  # ms


DURATIONS = [
    (None, "–"),
    (-1, "0 s"),
    (0.4, "0 s"),
    (7, "7 s"),
    (59.9, "59 s"),
    (60, "1 min 00 s"),
    (237.8, "3 min 57 s"),
    (3599.9, "59 min 59 s"),
    (3600, "1 h 00 min"),
    (7500, "2 h 05 min"),
    (86_399.9, "23 h 59 min"),
    (273_600, "3 d 4 h"),
]
"""Seconds, and how people read them on pages."""


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
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


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (7.4974e-7, "0.75 µJ"),
        (1.916e-6, "1.92 µJ"),
        (1e-8, "0.01 µJ"),
        (9.4e-10, "0.00094 µJ"),
        (0, "0.00 µJ"),
        (0.01489755, "14,897.55 µJ"),
        (None, "–"),
    ],
)
def test_energies(joules: float | None, text: str) -> None:
    assert formats.energy(joules) == text


def test_an_accuracy_reads_in_per_cent_and_other_metrics_as_numbers() -> None:
    assert formats.metric(0.9861, "val/accuracy") == "98.61 %"
    assert formats.metric(0.1, "accuracy") == "10.00 %"
    assert formats.metric(0.9861, "val/loss") == "0.9861"
    assert formats.metric(None, "val/accuracy") == "–"


def test_titles_bear_with_specs_of_other_versions() -> None:
    assert job_title("train", {"model": {"arch": "a", "method": "adder"}, "dataset": {"name": "d"}}) == (
        "a",
        "adder",
        "d",
    )
    assert job_title("train", {"model": None, "dataset": "odd"}) == ("train",)
    assert job_title("analyze", {"recipe": "table1", "dataset": {"name": "d"}}) == ("table1", "d")
    assert job_title("quantize", {}) == ("quantize",)
