"""What one run will do: which faults, how often, and every instant and choice of it, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Strike:
    """One injection as it is planned."""

    number: int
    pause: float
    """A draw from the exponential distribution with mean 1: how long to wait before it, in the fault's own unit."""
    pick: float
    """In [0, 1): which of the candidates it hits, and whatever else the fault leaves to chance."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        return candidates[int(self.pick * len(candidates))]


def strikes(seed: int, fault: str, times: int) -> Iterator[Strike]:
    """The same for the same seed and fault, whatever else runs; a longer plan begins with the shorter one."""
    draws = random.Random(f"{seed}:{fault}")
    for number in range(times):
        yield Strike(number, min(draws.expovariate(1), 4.0), draws.random())
