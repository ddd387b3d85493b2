"""How numbers, sizes and times read on a page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeGuard

DASH = "–"  # what is not known
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def duration(seconds: float | None) -> str:
    """`7 s`, `3 min 12 s`, `2 h 05 min`, `3 d 4 h`."""
    if seconds is None:
        return DASH
    total = max(0, int(seconds))
    if total < MINUTE:
        return f"{total} s"
    if total < HOUR:
        return f"{total // MINUTE} min {total % MINUTE:02d} s"
    if total < DAY:
        return f"{total // HOUR} h {total % HOUR // MINUTE:02d} min"
    return f"{total // DAY} d {total % DAY // HOUR} h"


def ago(ms: int | None, now_ms: int) -> str:
    """`just now`, `40 s ago`, `5 min ago`, `3 h ago`, `2 d ago`, then the date."""
    if ms is None:
        return DASH
    seconds = (now_ms - ms) // 1000
    if seconds < 5:
        return "just now"
    for limit, unit, name in ((MINUTE, 1, "s"), (HOUR, MINUTE, "min"), (DAY, HOUR, "h"), (30 * DAY, DAY, "d")):
        if seconds < limit:
            return f"{seconds // unit} {name} ago"
    return _utc(ms).strftime("%Y-%m-%d")


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def iso(ms: int) -> str:
    """For a `datetime` attribute."""
    return _utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def absolute(ms: int) -> str:
    return _utc(ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(ms: int) -> str:
    return _utc(ms).strftime("%H:%M:%S")


def size(count: int) -> str:
    """Bytes in decimal units: `812 B`, `44.6 kB`, `1.2 GB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def percent(value: Any, digits: int = 2) -> str:
    """A share of one: `0.9861` → `98.61 %`."""
    return DASH if not is_number(value) else f"{value * 100:.{digits}f} %"


def number(value: Any) -> str:
    """Integers with separators, others with five significant digits."""
    if not is_number(value):
        return DASH
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"


def operations(count: int) -> str:
    """`840 operations`, `4.2 trillion operations`: digits enough to tell seconds from days."""
    for limit, name in ((10**15, "quadrillion"), (10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= limit:
            value = count / limit
            return f"{value:.3g} {name} operations" if value < 1000 else f"{value:,.0f} {name} operations"
    return f"{count:,} operations"


def is_number(value: Any) -> TypeGuard[int | float]:
    """A finite number; neither a flag nor NaN, which JSON columns cannot hold but a hand-written row might."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
    )
