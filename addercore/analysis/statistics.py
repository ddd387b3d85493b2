"""Means over seeds, and differences that are told from chance: within two standard errors is a tie."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

TIE: Final = 2.0
"""Standard errors within which two numbers are the same."""

LEAST_PAIRS: Final = 3
"""Seeds from which paired differences tell their spread; with fewer the validation set's size says how sure one is."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean and sample standard deviation (None for one value) of `n` values."""

    value: float
    sd: float | None
    n: int


def mean_of(values: Sequence[float]) -> Mean:
    """`values` must not be empty."""
    n = len(values)
    mean = sum(values) / n
    sd = sqrt(sum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Mean(mean, sd, n)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of a − b over the seeds that both have, its standard error, and where that comes from."""

    mean: float
    se: float
    n: int
    paired: bool

    @property
    def sign(self) -> int:
        """1 if a is ahead, −1 if it is behind, 0 for a tie."""
        return 0 if abs(self.mean) <= TIE * self.se else 1 if self.mean > 0 else -1

    def points(self) -> str:
        """In percentage points: `−0.39 ± 0.21 points`."""
        return f"{signed(100 * self.mean)} ± {100 * self.se:.2f} points"


def compare(a: dict[int, float], b: dict[int, float], images: int) -> Difference | None:
    """Accuracies a − b, paired by seed; None where no seed has both.

    The standard error is that of the paired differences, or with fewer than 3 of them that of two shares of `images`
    validation images, √((p_a(1 − p_a) + p_b(1 − p_b)) / (n · images)), which overstates it as both see the same images.
    """
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        return None
    n = len(seeds)
    found = mean_of([a[seed] - b[seed] for seed in seeds])
    if n >= LEAST_PAIRS and found.sd is not None:
        return Difference(found.value, found.sd / sqrt(n), n, True)
    shares = [sum(part[seed] for seed in seeds) / n for part in (a, b)]
    return Difference(found.value, sqrt(sum(p * (1 - p) for p in shares) / (n * images)), n, False)


def chance_limit(classes: int, images: int) -> float:
    """The accuracy up to which a network may be guessing: 1/classes and three standard errors."""
    chance = 1 / classes
    return chance + 3 * sqrt(chance * (1 - chance) / images)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
