"""The command and the pages show the same number in the same words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adderclient import formats
from api.web import formats as pages

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
SECONDS = (None, -1, 0, 0.4, 0.6, 59.4, 59.9, 60, 119.99, 3599.9, 3600, 7500, 86_399, 86_400, 273_600)
NUMBERS = (None, True, "x", float("nan"), float("inf"), 0, -3, 44_426, 3.0, 0.113249, 5e-5, 1e-12, 99_999.94, 123_456.7)
COUNTS = (0, 1, 999, 1000, 44_600, 177_704, 999_999, 1_234_567_890, 10**13, 10**19)


@pytest.mark.parametrize("seconds", SECONDS)
def test_durations(seconds: float | None) -> None:
    assert formats.duration(seconds) == pages.duration(seconds)


@pytest.mark.parametrize(
    "age", [-3, 0, 4.9, 5, 59.9, 60, 3599, 3600, 86_400, 29.99 * 86_400, 30 * 86_400, 400 * 86_400]
)
def test_ages(age: float) -> None:
    now_ms = int(NOW.timestamp() * 1000)
    assert formats.ago(NOW - timedelta(seconds=age), NOW) == pages.ago(now_ms - round(age * 1000), now_ms)
    assert formats.ago(None) == pages.ago(None, now_ms)


@pytest.mark.parametrize("count", COUNTS)
def test_sizes_and_operations(count: int) -> None:
    assert formats.size(count) == pages.size(count)
    assert formats.operations(count) == pages.operations(count)


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_and_shares(value: object) -> None:
    assert formats.number(value) == pages.number(value)
    assert formats.percent(value) == pages.percent(value)
    assert formats.percent(value, 0) == pages.percent(value, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0123456, "0.0123 ms"),
        (1.0, "1 ms"),
        (47.06, "47.1 ms"),
        (999.6, "1,000 ms"),
        (1240.4, "1,240 ms"),
    ],
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert formats.milliseconds(value) == pages.milliseconds(value) == text


@pytest.mark.parametrize(
    ("joules", "text"), [(None, "–"), (0.0, "0.00"), (7.49736e-7, "0.75"), (1.881e-2, "18,810.00"), (1.5e-9, "0.0015")]
)
def test_energy_is_in_microjoules(joules: float | None, text: str) -> None:
    assert formats.energy(joules) == text
    assert pages.energy(joules) == (text if joules is None else f"{text} µJ")


def test_accuracies_are_in_per_cent_wherever_they_stand() -> None:
    assert formats.named("val/accuracy", 0.9861) == "98.61 %"
    assert formats.named("val/loss", 0.9861) == "0.9861"
    assert (
        formats.text({"accuracy": 1.0, "val/accuracy": None, "loss": 0.25})
        == "accuracy 100.00 %, val/accuracy –, loss 0.25"
    )
