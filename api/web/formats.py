"""How people read numbers, sizes, durations and times on every page. The command `adder` follows the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from jobs.sweeps.summary import is_share

UNKNOWN = "–"
"""Stands for a value that is not known."""
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def duration(seconds: float | None) -> str:
    """A duration in its two largest units: `7 s`, `3 min 12 s`, `2 h 05 min`, `3 d 4 h`. The rest is cut off."""
    if seconds is None:
        return UNKNOWN
    total = max(0, int(seconds))
    if total < MINUTE:
        return f"{total} s"
    if total < HOUR:
        return f"{total // MINUTE} min {total % MINUTE:02d} s"
    if total < DAY:
        return f"{total // HOUR} h {total % HOUR // MINUTE:02d} min"
    return f"{total // DAY} d {total % DAY // HOUR} h"


def ago(ms: int | None, now_ms: int) -> str:
    """An age in its largest unit: `just now`, `40 s ago`, `5 min ago`, `3 h ago`, `2 d ago`; after 30 days the date."""
    if ms is None:
        return UNKNOWN
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
    """A moment for a `datetime` attribute, RFC 3339 in UTC."""
    return _utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def absolute(ms: int) -> str:
    """A moment: `2025-11-21 03:00:00 UTC`."""
    return _utc(ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(ms: int) -> str:
    """The time of day of a moment: `03:00:00`."""
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
    """A share of one in per cent: `98.61 %` for 0.9861."""
    return UNKNOWN if not is_number(value) else f"{value * 100:.{digits}f} %"


def number(value: Any) -> str:
    """An integer with separators, any other number with five significant digits."""
    if not is_number(value):
        return UNKNOWN
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"


def metric(value: Any, name: str) -> str:
    """The value of a metric: an accuracy in per cent, any other metric as a number."""
    return percent(value) if is_share(name) else number(value)


def energy(joules: Any) -> str:
    """An energy in µJ with two decimals, or below 0.01 µJ with three significant digits: `0.75 µJ`, `0.00094 µJ`."""
    if not is_number(joules):
        return UNKNOWN
    micro = joules * 1e6
    return f"{micro:,.2f} µJ" if micro >= 0.01 or micro == 0 else f"{micro:.3g} µJ"


def milliseconds(value: Any) -> str:
    """A time in milliseconds with three significant digits: `0.0123 ms`, `47.1 ms`, `1,240 ms`."""
    if not is_number(value):
        return UNKNOWN
    return f"{value:,.0f} ms" if value >= 999.5 else f"{value:.3g} ms"


def operations(count: int) -> str:
    """A number of operations: `840 operations`, `4.2 trillion operations`."""
    for limit, name in ((10**15, "quadrillion"), (10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= limit:
            value = count / limit
            return f"{value:.3g} {name} operations" if value < 1000 else f"{value:,.0f} {name} operations"
    return f"{count:,} operations"


def facts(info: Mapping[str, Any]) -> str:
    """The plain values of an object on one line: `torch 2.13.0 · threads 2`."""
    return " · ".join(f"{key} {value}" for key, value in info.items() if isinstance(value, str | int | float))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number. A boolean is none; a row that was written by hand might hold NaN."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
    )
