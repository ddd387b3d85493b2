"""Figures that the server draws into a page: SVG whose colours the page's styles give, so that they fit its scheme."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from jobs.sweeps.plot import log_ticks, ticks

LOG_RATIO = 20.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic by itself."""


class Axis:
    """Maps numbers to pixels, with some room around them."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool, room: float = 0.05) -> None:
        self.log = log
        low, high = self._place(min(values)), self._place(max(values))
        by = (high - low) * room if high > low else abs(low) * 0.05 or 1.0
        self._low, self._high, self._start, self._end = low - by, high + by, start, end

    def _place(self, value: float) -> float:
        return math.log(value) if self.log else float(value)

    def __call__(self, value: float) -> float:
        return self._start + (self._place(value) - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self, count: int) -> list[float]:
        if not self.log:
            return ticks(self._low, self._high, count)
        low, high = math.exp(self._low), math.exp(self._high)
        found = log_ticks(low, high)
        return found if len(found) > 1 else [value for value in ticks(low, high, count) if value > 0]


def spans_decades(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis shows them better."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_RATIO


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An SVG element; texts and attributes are escaped. `class_` and `text_anchor` mean class and text-anchor."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(f"{value:.1f}" if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(name, Markup(written), joined(map(escape, children)), name)


def joined(parts: Iterable[str]) -> Markup:
    return Markup("").join(parts)
