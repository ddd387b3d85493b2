"""Pages of a list. A cursor is opaque and valid for one list with one set of filters and one order."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, tuple_

from jobs.access.scope import Transaction
from jobs.errors import BadCursor
from jobs.ids import ID_PATTERN

LATEST = 2**53
"""Moments of a cursor, in ms, lie below it."""
SURROGATE = re.compile("[\ud800-\udfff]")
MOST = 2**63
"""Values of a cursor lie below it: the database compares no others."""


Conditions = Callable[[Any], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True)
class Page:
    rows: Sequence[Any]
    next: str | None
    """Cursor of the following page; None at the end."""


@dataclass(frozen=True)
class Place:
    """Where a page ends: behind this row."""

    id: str
    value: float | str | None = None
    """What the list is sorted by; None for a row that has no such value, and where a list is sorted by ids."""
    as_of: int | None = None
    """The moment, in ms, to which its values count, where they grow with time."""


@dataclass(frozen=True)
class Valued:
    """The rows that have a value of one kind, in its order."""

    query: Any
    """`(id, value)`."""
    order: Sequence[Any]
    """Its columns `(value, id)`."""
    text: bool = False
    """Whether the values are texts, or else numbers."""


@dataclass(frozen=True)
class Keys:
    """The ids of a list's rows in their order. Rows that have no value to sort by come last, by their ids.

    All parts are queries to which the conditions of a list are added.
    """

    lacking: Any
    """`(id)` of the rows without a value; of all rows where a list is sorted by ids."""
    lacking_order: Sequence[Any]
    """Its columns in order; the last one is the id."""
    valued: Sequence[Valued] = ()
    """The others: numbers before texts."""
    descending: bool = True
    as_of: int | None = None
    """As in `Place`."""


def page(
    session: Transaction, query: Select[Any], id_column: Any, scope: Mapping[str, Any], limit: int, after: str | None
) -> Page:
    """One page of `query`, newest first. `scope` names the list and its filters; a cursor is valid for these alone."""
    query = query.order_by(id_column.desc())
    if after is not None:
        query = query.where(id_column < place_of(after, scope).id)
    rows = session.execute(query.limit(limit + 1)).scalars().all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, _make_cursor(Place(rows[-1].id), scope) if more else None)


def sorted_page(
    session: Transaction,
    rows: Select[Any],
    id_column: Any,
    keys: Keys,
    conditions: Conditions,
    scope: Mapping[str, Any],
    limit: int,
    after: str | None,
) -> Page:
    """One page of a list in the order of `keys`: first the ids, by indices alone, then these rows.

    A row that is added, or whose value changes, while somebody turns pages moves no other row: a page begins behind a
    value and an id, and not after a number of rows.

    Args:
        session: a transaction.
        rows: the query of whole rows, to which their ids are added.
        id_column: of these rows.
        keys: the order.
        conditions: of the rows that are listed, given the column that has their ids in one half of `keys`.
        scope: names the list, its filters and its order; a cursor is valid for these alone.
        limit: number of rows.
        after: the cursor of the page before.

    Raises:
        BadCursor: `after` is none of this list.
    """
    at = None if after is None else place_of(after, scope)
    if at is not None and not _fits(at, keys):
        raise BadCursor(after or "")
    places = _places(session, keys, conditions, limit + 1, at)
    more = len(places) > limit
    places = places[:limit]
    found = session.execute(rows.where(id_column.in_([place.id for place in places]))).scalars().all()
    by_id = {row.id: row for row in found}
    # One that has been deleted since its id was read is left out.
    ordered = [by_id[place.id] for place in places if place.id in by_id]
    return Page(ordered, _make_cursor(places[-1], scope) if more else None)


def _places(session: Transaction, keys: Keys, conditions: Conditions, wanted: int, at: Place | None) -> list[Place]:
    found: list[Place] = []
    for part in keys.valued:
        if len(found) == wanted or (at is not None and not _lies_in(at, part)):
            continue
        query = part.query.where(*conditions(part.order[-1]))
        if at is not None:
            here = tuple_(*part.order)
            query = query.where(here < (at.value, at.id) if keys.descending else here > (at.value, at.id))
        ordered = query.order_by(*_directed(part.order, keys.descending)).limit(wanted - len(found))
        found += [Place(id_, value, keys.as_of) for id_, value in session.execute(ordered)]
        at = None
    if len(found) < wanted:
        query = keys.lacking.where(*conditions(keys.lacking_order[-1]))
        if at is not None:
            id_column = keys.lacking_order[-1]
            query = query.where(id_column < at.id if keys.descending else id_column > at.id)
        ordered = query.order_by(*_directed(keys.lacking_order, keys.descending)).limit(wanted - len(found))
        found += [Place(id_) for id_ in session.execute(ordered).scalars()]
    return found


def _lies_in(at: Place, part: Valued) -> bool:
    """Whether a place is among the rows with values of this kind."""
    return at.value is not None and isinstance(at.value, str) == part.text


def _fits(at: Place, keys: Keys) -> bool:
    """Whether a place, which anybody may have written, can be one in this order."""
    if at.value is None or not keys.valued:
        return True
    return any(_lies_in(at, part) for part in keys.valued) and at.as_of == keys.as_of


def _directed(columns: Sequence[Any], descending: bool) -> list[ColumnElement[Any]]:
    return [column.desc() if descending else column.asc() for column in columns]


def _scope_digest(scope: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()[:12]


def _make_cursor(place: Place, scope: Mapping[str, Any]) -> str:
    shown = place.value if place.as_of is None else [place.value, place.as_of]
    value = "" if place.value is None else f":{json.dumps(shown)}"
    return base64.urlsafe_b64encode(f"{_scope_digest(scope)}:{place.id}{value}".encode()).decode().rstrip("=")


def place_of(cursor: str, scope: Mapping[str, Any]) -> Place:
    """The place that a cursor names. Raises BadCursor if it is none of this list."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        digest, last_id, *values = text.split(":", 2)
        value = json.loads(values[0]) if values else None
        place = Place(last_id, *value) if isinstance(value, list) and len(value) == 2 else Place(last_id, value)
    except (ValueError, TypeError, RecursionError):
        raise BadCursor(cursor) from None
    if digest != _scope_digest(scope) or not ID_PATTERN.match(last_id) or not _comparable(place.value, place.as_of):
        raise BadCursor(cursor)
    return place


def _comparable(value: object, as_of: object) -> bool:
    """Whether the database can compare a value of a cursor, which anybody may have written."""
    if as_of is not None and (isinstance(as_of, bool) or not isinstance(as_of, int) or not 0 <= as_of < LATEST):
        return False
    match value:
        case None:
            return True
        case bool():
            return False
        case int():
            return -MOST <= value < MOST
        case float():
            return math.isfinite(value)
        case str():
            return "\0" not in value and not SURROGATE.search(value)
        case _:
            return False
