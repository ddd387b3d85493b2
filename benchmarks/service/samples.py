"""Many samples made few, and the slope of a series with an interval that bears autocorrelation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

KEPT = 200
BLOCKS = 20
T_975 = 2.10092
"""97.5 % point of Student's t with `BLOCKS` - 2 = 18 degrees of freedom."""


def quantiles(values: Sequence[float], kept: int = KEPT) -> list[float]:
    """At most `kept` of them, ascending, evenly spaced by rank, the smallest and the largest included."""
    ordered = sorted(values)
    if len(ordered) <= kept:
        return ordered
    return [ordered[round(rank * (len(ordered) - 1) / (kept - 1))] for rank in range(kept)]


@dataclass(frozen=True)
class Slope:
    """Change per unit of time, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def slope(times: Sequence[float], values: Sequence[float]) -> Slope:
    """Ordinary least squares over the means of `BLOCKS` stretches of equally many samples.

    Neighbouring samples of a process's memory are not independent: it moves in steps and stays. Over all samples the
    interval would be far too narrow; means of long stretches are nearly independent (the method of batch means).

    Args:
        times, values: (n,), n >= 2 * BLOCKS, evenly spread over time.

    Raises:
        ValueError: fewer samples.
    """
    count = len(times)
    if count < 2 * BLOCKS:
        raise ValueError(f"{count} samples are too few for {BLOCKS} blocks; {2 * BLOCKS} are the least")
    borders = [count * block // BLOCKS for block in range(BLOCKS + 1)]
    x = [fmean(times[borders[i] : borders[i + 1]]) for i in range(BLOCKS)]
    y = [fmean(values[borders[i] : borders[i + 1]]) for i in range(BLOCKS)]
    x_mean, y_mean = fmean(x), fmean(y)
    spread = sum((one - x_mean) ** 2 for one in x)
    rate = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - y_mean - rate * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    margin = T_975 * math.sqrt(left / (BLOCKS - 2) / spread)
    return Slope(rate, rate - margin, rate + margin)
