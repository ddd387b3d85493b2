"""Tables for people on stdout, JSON for programs, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "queued": "dim",
    "paused": "magenta",
}


def console() -> Console:
    """Stdout as it is now (a test may have replaced it). Narrow pipes do not cut tables."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)


def errors_console() -> Console:
    """Stderr."""
    return Console(file=sys.stderr, highlight=False)


def note(text: str) -> None:
    """A remark for people, on stderr."""
    errors_console().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """JSON on stdout, keys in the server's order."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=dict) + "\n")


def print_list(items: Iterable[Mapping[str, Any]], more: bool = False, cursor: str | None = None) -> None:
    """A listing as JSON, in the envelope of the REST contract."""
    print_json({"data": [dict(item) for item in items], "has_more": more, "next": cursor})


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table; columns whose name ends in ``>`` are right-aligned."""
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        right = column.endswith(">")
        grid.add_column(column.rstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    console().print(grid)


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values below each other; what is None or empty is left out."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "" and value != {}:
            grid.add_row(name, _cell(value))
    console().print(grid)


def status(name: str) -> Text:
    """A status in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def _cell(value: Any) -> Text:
    return value if isinstance(value, Text) else Text(text(value))


def text(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        inner = ((key, "(see --json)" if isinstance(item, Mapping) else text(item)) for key, item in value.items())
        return ", ".join(f"{key} {item}" for key, item in inner)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], list | tuple):
            return f"{len(value)}×{len(value[0])} matrix (see --json)"
        return ", ".join(text(item) for item in value)
    return str(value)


def ago(moment: datetime | None) -> str:
    """How long ago something was."""
    if moment is None:
        return "-"
    return f"{duration((datetime.now(UTC) - moment).total_seconds())} ago"


def duration(seconds: float | None) -> str:
    """Seconds as ``12s``, ``3m05s`` or ``2h07m``."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
