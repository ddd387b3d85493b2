"""Times of several calls, measured in turn, so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

Name = TypeVar("Name")
Call = Callable[[], object]
ROUNDS: Final = 10
FEWEST_ROUNDS: Final = 3
MOST_CALLS: Final = 2_000
"""Of one kind in a round."""
LONGEST: Final = 10.0
"""Seconds; what takes longer for a call is not measured."""
REST: Final = 0.02
"""Seconds between two kinds of calls, in which the first one's threads stop spinning."""


def interleaved(
    calls: Mapping[Name, Call], seconds: float, tell: Callable[[float], None], rest: float = REST
) -> dict[Name, list[float]]:
    """Seconds of each call on the clock.

    Each is first called twice without a record. Then come rounds, every second one backwards; in a round each is called
    once to warm up and then often enough to fill its part of `seconds`.

    Args:
        calls: what to measure, by any names.
        seconds: about how long each is measured, in all. Slow ones are called in at least `FEWEST_ROUNDS` rounds.
        tell: told the part that is done, 0…1, after each step. An exception of it ends the measurement.
        rest: seconds of rest before each step.

    Returns:
        For each name its samples; empty for a call that takes longer than `LONGEST`.
    """
    samples: dict[Name, list[float]] = {name: [] for name in calls}
    often, spent = {}, dict.fromkeys(calls, 0.0)
    steps, done = (ROUNDS + 1) * len(calls), 0
    for name, call in calls.items():
        time.sleep(rest)
        first = _seconds(call)
        if first <= LONGEST:
            often[name] = min(MOST_CALLS, max(1, math.ceil(seconds / ROUNDS / max(_seconds(call), 1e-7))))
        done += 1
        tell(done / steps)
    for number in range(ROUNDS):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            if name in often and (number < FEWEST_ROUNDS or spent[name] < 2 * seconds):
                time.sleep(rest)
                calls[name]()
                found = [_seconds(calls[name]) for _ in range(often[name])]
                samples[name] += found
                spent[name] += sum(found)
            done += 1
            tell(done / steps)
    return samples


def _seconds(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rank(samples: list[float], part: float) -> float:
    """The nearest-rank quantile of samples, `part` 0…1: of fewer than 100 the 99th percentile is the largest."""
    return sorted(samples)[max(0, math.ceil(part * len(samples)) - 1)]
