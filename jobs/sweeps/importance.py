"""How much each field of a sweep matters: the share of the objective's variance that its values explain alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, Final

MOST_VALUES: Final = 6
"""Different values of a field from which on numbers are put into bins of equally many trials."""
MOST_BINS: Final = 5
FEWEST_IN_A_BIN: Final = 4


def importance(fields: Sequence[str], trials: Sequence[tuple[Mapping[str, Any], float]]) -> dict[str, float | None]:
    """For each field the adjusted correlation ratio ε² = 1 − (SSW / (n − k)) / (SST / (n − 1)), at least 0.

    SSW is the sum of squares within the k groups of trials that share a value (or a bin of values), SST that of all n.
    The adjustment takes out what as many groups explain by chance (Kelley, PNAS 21(9), 1935). It sees no interaction:
    two fields that matter only together have little each.

    Args:
        trials: of those that have a value, their parameters and the objective.

    Returns:
        None for a field that has one value, or too few trials to tell.
    """
    return {name: _ratio([(row.get(name), value) for row, value in trials]) for name in fields}


def _ratio(pairs: Sequence[tuple[Any, float]]) -> float | None:
    groups = _groups(pairs)
    n, k = len(pairs), len(groups)
    total = _squares([value for _, value in pairs])
    if k < 2 or n < k + 2 or total == 0:
        return None
    inside = sum(_squares(values) for values in groups)
    return max(0.0, 1 - (inside / (n - k)) / (total / (n - 1)))


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values) if values else 0.0
    return sum((value - mean) ** 2 for value in values)


def _groups(pairs: Sequence[tuple[Any, float]]) -> list[list[float]]:
    """The objective by equal values, or of many different numbers by bins of equally many trials."""
    numeric = all(isinstance(x, int | float) and not isinstance(x, bool) for x, _ in pairs)
    found: dict[Hashable, list[float]] = defaultdict(list)
    for x, value in pairs:
        found[json.dumps(x, sort_keys=True)].append(value)
    if not numeric or len(found) <= MOST_VALUES:
        return list(found.values())
    ordered = [value for _, value in sorted(pairs, key=lambda pair: pair[0])]
    bins = max(2, min(MOST_BINS, len(ordered) // FEWEST_IN_A_BIN))
    borders = [len(ordered) * at // bins for at in range(bins + 1)]
    return [ordered[begin:end] for begin, end in pairwise(borders)]
