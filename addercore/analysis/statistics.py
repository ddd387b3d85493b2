"""Means over seeds, and intervals of 95 % for differences between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import atan2, cos, pi, sin, sqrt, tan
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
"""Of every interval here; two numbers whose difference's interval holds zero are a tie."""

NORMAL_LIMIT: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""1.960: standard errors that make half an interval where the error itself is known, as that of a share is."""

MIN_PAIRS: Final = 3
"""Seeds from which paired differences tell their spread; with fewer the validation set's size says how sure one is."""


def student_probability(limit: float, freedom: int) -> float:
    """P(|T| ≤ `limit`) of Student's t with a whole number of degrees of `freedom`, by its finite series.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    angle = atan2(limit, sqrt(freedom))
    term = total = cos(angle) if freedom % 2 else 1.0
    for n in range(3 if freedom % 2 else 2, freedom, 2):
        term *= cos(angle) ** 2 * (n - 1) / n
        total += term
    if freedom % 2 == 0:
        return sin(angle) * total
    return 2 / pi * (angle + (sin(angle) * total if freedom > 1 else 0.0))


@lru_cache
def student_limit(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| ≤ t) = `confidence`: 12.71, 4.30, 3.18, … for 1, 2, 3, … degrees of `freedom` and 95 %."""
    if freedom < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, got {freedom}")
    low, high = 0.0, pi / 2  # of the angle atan(t/√freedom)
    while low < (middle := (low + high) / 2) < high:
        if student_probability(sqrt(freedom) * tan(middle), freedom) < confidence:
            low = middle
        else:
            high = middle
    return sqrt(freedom) * tan(middle)


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean and sample standard deviation (None for one value) of `n` values."""

    value: float
    sd: float | None
    n: int

    @property
    def se(self) -> float | None:
        """Standard error of the mean."""
        return None if self.sd is None else self.sd / sqrt(self.n)

    @property
    def margin(self) -> float | None:
        """Half of the mean's 95 % interval, by Student's t with n − 1 degrees of freedom; None for one value."""
        return None if self.se is None else student_limit(self.n - 1) * self.se


def mean_of(values: Sequence[float]) -> Mean:
    """`values` must not be empty."""
    n = len(values)
    mean = sum(values) / n
    sd = sqrt(sum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Mean(mean, sd, n)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of a − b over the seeds that both have, its standard error, and half of its 95 % interval.

    `paired` differences have their error from their own spread, others from the number of validation images.
    """

    mean: float
    se: float
    margin: float
    n: int
    paired: bool

    @property
    def sign(self) -> int:
        """1 if a is ahead, −1 if it is behind, 0 for a tie: zero lies in the interval."""
        return 0 if abs(self.mean) <= self.margin else 1 if self.mean > 0 else -1

    def points(self) -> str:
        """Mean and half of the 95 % interval in percentage points: `−0.39 ± 0.58 points`."""
        return f"{signed(100 * self.mean)} ± {100 * self.margin:.2f} points"


def compare(a: dict[int, float], b: dict[int, float], images: int) -> Difference | None:
    """Accuracies a − b, paired by seed; None where no seed has both.

    With 3 seeds or more the interval is Student's, from the spread of the paired differences. With fewer it is the
    normal one of two shares of `images` validation images, whose standard error
    √((p_a(1 − p_a) + p_b(1 − p_b)) / (n · images)) is too large, since both networks see the same images.
    """
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        return None
    n = len(seeds)
    found = mean_of([a[seed] - b[seed] for seed in seeds])
    if n >= MIN_PAIRS and found.se is not None and found.margin is not None:
        return Difference(found.value, found.se, found.margin, n, True)
    shares = [sum(part[seed] for seed in seeds) / n for part in (a, b)]
    se = sqrt(sum(p * (1 - p) for p in shares) / (n * images))
    return Difference(found.value, se, NORMAL_LIMIT * se, n, False)


def comparisons_note(count: int) -> str:
    """What a reader of several intervals has to know: that each has its own chance to miss."""
    if count == 1:
        return "One comparison was made, with a 95 % interval."
    expected = count * (1 - CONFIDENCE)
    return (
        f"{count} comparisons were made, each with its own 95 % interval and none corrected for the others: "
        f"chance alone makes about {expected:.2g} of {count} miss."
    )


def chance_limit(classes: int, images: int) -> float:
    """The accuracy up to which a network may be guessing: 1/classes and three standard errors."""
    chance = 1 / classes
    return chance + 3 * sqrt(chance * (1 - chance) / images)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
