"""Which field of a sweep matters, and that the picture's colours all have a rule for the page's scheme."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import api.web
from jobs.sweeps import plot
from jobs.sweeps.importance import importance


def test_a_field_that_explains_all_has_the_whole_variance() -> None:
    trials = [({"a": a, "b": b}, float(a)) for a in (0, 1, 2) for b in ("x", "y")]
    found = importance(["a", "b"], trials)
    assert found["a"] == 1
    assert found["b"] == 0, "no more than chance"


def test_a_share_is_the_adjusted_correlation_ratio() -> None:
    trials = [({"a": "x"}, 1.0), ({"a": "x"}, 3.0), ({"a": "y"}, 5.0), ({"a": "y"}, 7.0)]
    assert importance(["a"], trials)["a"] == pytest.approx(1 - (4 / 2) / (20 / 3))


def test_many_numbers_are_binned() -> None:
    draw = random.Random(0)
    trials = [({"lr": draw.random(), "other": draw.random()}, 0.0) for _ in range(60)]
    trials = [(row, (row["lr"] - 0.5) ** 2) for row, _ in trials]
    found = importance(["lr", "other"], trials)
    assert (found["lr"] or 0) > 0.7, "also where it neither rises nor falls"
    assert (found["other"] or 0) < 0.2


@pytest.mark.parametrize(
    "trials", [[], [({"a": 1}, 1.0)], [({"a": 1}, 1.0), ({"a": 1}, 2.0)], [({"a": n}, 3.0) for n in range(9)]]
)
def test_too_few_or_equal_trials_tell_nothing(trials: list[tuple[dict[str, int], float]]) -> None:
    assert importance(["a"], trials) == {"a": None}


def test_every_colour_of_the_picture_follows_the_scheme() -> None:
    rules = Path(api.web.__file__).with_name("static").joinpath("sweeps.css").read_text()
    for colour in (plot.INK, plot.SOFT, "#ffffff", *plot.COLOURS):
        assert f'.print [fill="{colour}"]' in rules
    for colour in (plot.SOFT, plot.LINE, *plot.COLOURS):
        assert f'.print [stroke="{colour}"]' in rules
