"""Means over seeds, and 95 % intervals for their differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import atan2, cos, pi, sin, sqrt, tan
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
"""Of every interval. Two numbers tie if the interval of their difference contains zero."""

NORMAL_LIMIT: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""1.960: half an interval in standard errors, for errors that follow from a number of images."""

MIN_PAIRS: Final = 3
"""Seeds from which on the spread of paired differences is used; below, the size of the validation set is."""


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

    If `paired`, the error comes from the spread of the differences, else from the number of validation images.
    """

    mean: float
    se: float
    margin: float
    n: int
    paired: bool

    @property
    def sign(self) -> int:
        """1 if a is ahead, −1 if it is behind, 0 for a tie (the interval contains zero)."""
        return 0 if abs(self.mean) <= self.margin else 1 if self.mean > 0 else -1

    def points(self) -> str:
        """Mean and half of the 95 % interval in percentage points: `−0.39 ± 0.58 points`."""
        return f"{signed(100 * self.mean)} ± {100 * self.margin:.2f} points"


def compare(a: dict[int, float], b: dict[int, float], images: int) -> Difference | None:
    """Difference of accuracies a − b, paired by seed; None if no seed has both.

    With 3 seeds or more the interval is Student's, from the spread of the paired differences. With fewer it is the
    normal interval of two independent fractions of `images` validation images, whose standard error is
    √((p_a(1 − p_a) + p_b(1 − p_b)) / (n · images)). That is too wide, since both networks see the same images.
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


def changed_answers(lost: int, gained: int, images: int) -> Difference:
    """Difference of two networks' accuracies by their answers to the same images.

    An image adds 1, −1 or 0 to the difference, so that images to which both answer alike widen nothing: the standard
    error is √(lost + gained − (gained − lost)²/images) / images, and the interval the normal one.

    Args:
        lost: images that the first network classified rightly and the second does not.
        gained: images that only the second classifies rightly.
        images: all images, of all seeds.
    """
    net = gained - lost
    se = sqrt(max(lost + gained - net**2 / images, 0.0)) / images
    return Difference(net / images, se, NORMAL_LIMIT * se, 1, True)


def comparisons_note(count: int) -> str:
    """A sentence with the number of intervals, and how many of them are expected to miss."""
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
    """A number with its sign; the minus is U+2212."""
    return f"{value:+.{digits}f}".replace("-", "−")
