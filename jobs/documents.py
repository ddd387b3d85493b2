"""Free documents: JSON of which the service knows only that it is JSON, such as a manifest's `config` or a result.

`fault` is the one place that decides whether such a document may be stored, so that whatever is stored can be read and
sent again. The database's own (de)serialiser uses it (`jobs/database.py`): nothing else comes into a JSON column.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON

MAX_DEPTH = 32
"""Objects and lists inside each other."""
INT64 = 1 << 63
_SURROGATES = re.compile("[\ud800-\udfff]")
MAX_SHOWN = 40
"""Characters of a bad value that a sentence repeats."""


@dataclass(frozen=True)
class Fault:
    """What keeps a document from being stored."""

    pointer: str
    """Where it is, a JSON pointer (RFC 6901)."""
    reason: str
    """As it goes on after the field's name."""


class Unstorable(ValueError):
    """A document that must not be stored."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.pointer or 'the document'} {fault.reason}")
        self.fault = fault


class Unreadable(ValueError):
    """A stored document that cannot be read back; an older version stored it."""


def fault(document: object) -> Fault | None:
    """The first thing that keeps a document from being stored: depth, kind, size of numbers, lone surrogates.

    Args:
        document: what a JSON parser returned, or what is to be written as JSON.

    Returns:
        The fault; None for a document that may be stored.
    """
    # A stack of iterators instead of recursion: the sender chooses the depth.
    stack: list[tuple[Iterator[tuple[Any, Any]], str]] = []
    item: Any = document
    at = ""
    while True:
        inner, reason = _look(item)
        if reason is None and inner is not None:
            reason = None if len(stack) < MAX_DEPTH else f"is nested deeper than {MAX_DEPTH} levels; make it flatter"
            stack.append((inner, at))
        if reason is not None:
            return Fault(at, reason)
        while stack:
            following = next(stack[-1][0], None)
            if following is not None:
                break
            stack.pop()
        else:
            return None
        key, item = following
        outer = stack[-1][1]
        if isinstance(key, str) and _SURROGATES.search(key):
            return Fault(outer, f"has a key with a lone surrogate, {_shown(key)}; send valid Unicode")
        at = f"{outer}/{_escaped(str(key))}"


def _look(item: Any) -> tuple[Iterator[tuple[Any, Any]] | None, str | None]:
    """What is inside an item, and what is wrong with it."""
    if isinstance(item, str):
        return None, "has a lone surrogate; send valid Unicode" if _SURROGATES.search(item) else None
    if item is None or isinstance(item, bool):
        return None, None
    if isinstance(item, int):
        fits = -INT64 <= item < INT64
        return None, None if fits else "must be an integer of at most 64 bits"
    if isinstance(item, float):
        return None, None if math.isfinite(item) else f"must be a finite number, got {item}"
    if isinstance(item, dict):
        return iter(item.items()), None
    if isinstance(item, list | tuple):
        return iter(enumerate(item)), None
    return None, f"is {type(item).__name__}, which JSON does not have"


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _shown(key: object) -> str:
    return ascii(key)[:MAX_SHOWN]


def dumps(document: object) -> str:
    """A document as JSON text for a column of the database. Raises Unstorable."""
    found = fault(document)
    if found is not None:
        raise Unstorable(found)
    return json.dumps(document, allow_nan=False)


def loads(text: str) -> Any:
    """The document of a column; `Broken` for one that cannot be read, so that its row does not hide those beside it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Broken(str(error))


@dataclass(frozen=True)
class Broken:
    """Stands for a stored document that cannot be read."""

    reason: str


class JsonArray(JSON):
    """The type of a column whose document is a list; that of any other JSON column is an object."""


def require_readable(row: Any) -> None:
    """Raises Unreadable where a JSON column of a row holds what could not be stored today.

    Columns that were not loaded are not looked at.
    """
    for column in type(row).__table__.columns:
        if not isinstance(column.type, JSON) or row.__dict__.get(column.key) is None:
            continue
        value = row.__dict__[column.key]
        if isinstance(value, Broken):
            raise Unreadable(f"{column.key} cannot be read: {value.reason}")
        expected = list if isinstance(column.type, JsonArray) else dict
        if not isinstance(value, expected):
            raise Unreadable(f"{column.key} is not {'a list' if expected is list else 'an object'}")
        found = fault(value)
        if found is not None:
            raise Unreadable(f"{column.key}{found.pointer} {found.reason}")
