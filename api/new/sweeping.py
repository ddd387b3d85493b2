"""The rows of a form that vary fields: the grid or the search of a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from api.new.fields import NULL, NUMBERS, Field, Pairs, read_scalar, text_of

Mode = Literal["", "grid", "search"]
VARYING: tuple[Mode, ...] = ("grid", "search")
FIELD, VALUES = "vary", "values"
"""Names under which the form has the rows' two halves."""
RANGE = re.compile(r"^\s*(\S+)\s+to\s+(\S+)(?:\s+step\s+(\S+))?(\s+log)?\s*$")
"""`0.001 to 1 log`, `16 to 128 step 16`."""
SPARE = 2
"""Empty rows below those that are filled."""


@dataclass(frozen=True)
class Row:
    """A field that varies."""

    name: str
    values: str
    """`0.05, 0.1, 0.2`, or of a search also `0.01 to 1 log`."""


def rows_of(pairs: Pairs) -> list[Row]:
    """The filled rows of a form."""
    halves = zip_longest(pairs.get(FIELD, ()), pairs.get(VALUES, ()), fillvalue="")
    return [Row(name.strip(), text.strip()) for name, text in halves if name.strip() or text.strip()]


def part_of(mode: Mode, rows: Sequence[Row], fields: Iterable[Field]) -> dict[str, Any]:
    """The `grid` or `search` that the rows say; empty where the form is of one job."""
    if not mode:
        return {}
    known = {field.name: field for field in fields}
    reader = _values if mode == "grid" else _space
    return {mode: {row.name: reader(row.values, known.get(row.name)) for row in rows}}


def _values(text: str, field: Field | None) -> list[Any]:
    return [_value(part.strip(), field) for part in text.split(",") if part.strip()]


def _value(text: str, field: Field | None) -> Any:
    if text == NULL:
        return None
    return text if field is None else read_scalar(text, field.schema)


def _space(text: str, field: Field | None) -> dict[str, Any]:
    found = RANGE.match(text)
    if found is None:
        return {"type": "categorical", "choices": _values(text, field)}
    low, high, step, log = found.groups()
    whole = field is not None and field.schema.get("type") == "integer"
    space = {"type": "int" if whole else "float", "low": _end(low), "high": _end(high)}
    return space | ({"step": _end(step)} if step else {}) | ({"log": True} if log else {})


def _end(text: str) -> Any:
    return read_scalar(text, {"type": NUMBERS[1]})


def rows_from(document: Mapping[str, Any]) -> tuple[Mode, list[Row]]:
    """The rows of a sweep's document."""
    for mode in VARYING:
        part = document.get(mode)
        if isinstance(part, Mapping):
            return mode, [Row(str(name), _written(values)) for name, values in part.items()]
    return "", []


def _written(values: Any) -> str:
    if isinstance(values, Mapping) and values.get("type") in ("int", "float"):
        step = f" step {text_of(values['step'])}" if values.get("step") not in (None, 1) else ""
        return (
            f"{text_of(values.get('low'))} to {text_of(values.get('high'))}{step}{' log' if values.get('log') else ''}"
        )
    listed = values.get("choices") if isinstance(values, Mapping) else values
    return ", ".join(text_of(one) for one in listed) if isinstance(listed, list) else text_of(listed)
