"""How records look: on one line for a terminal, as a table for a notebook. All that a server sent is escaped."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

LONGEST_CELL = 1000  # characters

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxtuple = _SHORT.maxdict = 4


def one_line(name: str, values: Mapping[str, Any]) -> str:
    """``Job(id='job_…', status='queued')``; what is long is cut."""
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in values.items())})"


def _short(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else _SHORT.repr(value)


def fields_table(name: str, values: Mapping[str, Any]) -> str:
    """An HTML table with a row for each field."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(key)}</th><td style="text-align:left">{cell(value)}</td></tr>'
        for key, value in values.items()
    )
    return f"<table><caption>{escape(name)}</caption>{rows}</table>"


def items_table(items: Sequence[Mapping[str, Any]], *, more: bool = False) -> str:
    """An HTML table with a row for each item, and a column for each name that one of them has."""
    names = list(dict.fromkeys(name for item in items for name in item))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(f'<td>{cell(item.get(name))}</td>' for name in names)}</tr>" for item in items)
    foot = f'<tr><td colspan="{len(names)}">…</td></tr>' if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}{foot}</tbody></table>"


def cell(value: Any) -> str:
    """A value as escaped text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return escape(value.isoformat(timespec="seconds"))
    if isinstance(value, Mapping | tuple | list):
        text = json.dumps(value, ensure_ascii=False, default=repr)
        return f"<code>{escape(text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + '…')}</code>"
    text = str(value)
    return escape(text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…")
