"""How numbers, sizes and times read on a terminal: by the rules of the service's pages (a test compares the two)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

DASH = "–"  # what is not known
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def duration(seconds: float | None) -> str:
    """``7 s``, ``3 min 12 s``, ``2 h 05 min``, ``3 d 4 h``."""
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


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """``just now``, ``40 s ago``, ``5 min ago``, ``3 h ago``, ``2 d ago``, and after 30 days the date."""
    if moment is None:
        return DASH
    seconds = int(((now or datetime.now(UTC)) - moment).total_seconds())
    if seconds < 5:
        return "just now"
    for limit, unit, name in ((MINUTE, 1, "s"), (HOUR, MINUTE, "min"), (DAY, HOUR, "h"), (30 * DAY, DAY, "d")):
        if seconds < limit:
            return f"{seconds // unit} {name} ago"
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def size(count: int | None) -> str:
    """Bytes in decimal units: ``812 B``, ``44.6 kB``, ``1.2 GB``."""
    if count is None:
        return DASH
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def percent(value: Any, digits: int = 2) -> str:
    """A share of one: 0.9861 as ``98.61 %``."""
    return f"{value * 100:.{digits}f} %" if is_number(value) else DASH


def number(value: Any) -> str:
    """Whole numbers with separators, others with five significant digits."""
    if not is_number(value):
        return DASH
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"


def milliseconds(value: Any) -> str:
    """A time in milliseconds with three significant digits: ``0.0123 ms``, ``47.1 ms``, ``1,240 ms``."""
    if not is_number(value):
        return DASH
    return f"{value:,.0f} ms" if value >= 999.5 else f"{value:.3g} ms"


def operations(count: int | None) -> str:
    """``840 operations``, ``4.2 trillion operations``: enough to tell seconds from days."""
    if count is None:
        return DASH
    for limit, name in ((10**15, "quadrillion"), (10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= limit:
            value = count / limit
            return f"{value:.3g} {name} operations" if value < 1000 else f"{value:,.0f} {name} operations"
    return f"{count:,} operations"


def energy(joules: float | None) -> str:
    """Microjoules with two decimals, or three significant digits where they are less than 0.01: ``0.75``."""
    if joules is None:
        return DASH
    micro = joules * 1e6
    return f"{micro:,.2f}" if micro >= 0.01 or micro == 0 else f"{micro:.3g}"


def shape(sizes: tuple[int, ...] | list[int]) -> str:
    """``3×32×32``."""
    return "×".join(map(str, sizes))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a finite number, and no flag."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
    )


def named(name: str, value: Any) -> str:
    """The value of a metric or a result: an accuracy in per cent."""
    return percent(value) if name.endswith("accuracy") and is_number(value) else text(value)


def text(value: Any) -> str:
    """Any value for people."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} ({text(item)})" if isinstance(item, Mapping) else f"{key} {named(str(key), item)}"
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], list | tuple):
            return f"{len(value)}×{len(value[0])} matrix"
        return ", ".join(text(item) for item in value)
    return str(value)
