"""Pages of a list. A cursor is opaque and valid for one list with one set of filters and one order."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, tuple_

from jobs.access.scope import Transaction
from jobs.errors import BadCursor
from jobs.ids import ID_PATTERN

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
    value: float | None = None
    """What the list is sorted by; None for a row that has no such value, and where a list is sorted by ids."""


@dataclass(frozen=True)
class Keys:
    """The ids of a list's rows in their order. Rows that have no value to sort by come last, by their ids.

    Both halves are queries of columns that indices hold, to which the conditions of a list are added.
    """

    lacking: Any
    """`(id)` of the rows without a value; of all rows where a list is sorted by ids."""
    lacking_order: Sequence[Any]
    """Its columns in order; the last one is the id."""
    having: Any = None
    """`(id, value)` of the others."""
    having_order: Sequence[Any] = ()
    """Its columns `(value, id)`."""
    descending: bool = True


def page(
    session: Transaction, query: Select[Any], id_column: Any, scope: Mapping[str, Any], limit: int, after: str | None
) -> Page:
    """One page of `query`, newest first. `scope` names the list and its filters; a cursor is valid for these alone."""
    query = query.order_by(id_column.desc())
    if after is not None:
        query = query.where(id_column < _open_cursor(after, scope).id)
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
    places = _places(session, keys, conditions, limit + 1, None if after is None else _open_cursor(after, scope))
    more = len(places) > limit
    places = places[:limit]
    found = session.execute(rows.where(id_column.in_([place.id for place in places]))).scalars().all()
    by_id = {row.id: row for row in found}
    # One that has been deleted since its id was read is left out.
    ordered = [by_id[place.id] for place in places if place.id in by_id]
    return Page(ordered, _make_cursor(places[-1], scope) if more else None)


def _places(session: Transaction, keys: Keys, conditions: Conditions, wanted: int, at: Place | None) -> list[Place]:
    found: list[Place] = []
    if keys.having is not None and (at is None or at.value is not None):
        query = keys.having.where(*conditions(keys.having_order[-1]))
        if at is not None:
            here = tuple_(*keys.having_order)
            query = query.where(here < (at.value, at.id) if keys.descending else here > (at.value, at.id))
        ordered = query.order_by(*_directed(keys.having_order, keys.descending)).limit(wanted)
        found = [Place(id_, value) for id_, value in session.execute(ordered)]
        at = None
    if len(found) < wanted:
        query = keys.lacking.where(*conditions(keys.lacking_order[-1]))
        if at is not None:
            id_column = keys.lacking_order[-1]
            query = query.where(id_column < at.id if keys.descending else id_column > at.id)
        ordered = query.order_by(*_directed(keys.lacking_order, keys.descending)).limit(wanted - len(found))
        found += [Place(id_) for id_ in session.execute(ordered).scalars()]
    return found


def _directed(columns: Sequence[Any], descending: bool) -> list[ColumnElement[Any]]:
    return [column.desc() if descending else column.asc() for column in columns]


def _scope_digest(scope: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()[:12]


def _make_cursor(place: Place, scope: Mapping[str, Any]) -> str:
    value = "" if place.value is None else f":{json.dumps(place.value)}"
    return base64.urlsafe_b64encode(f"{_scope_digest(scope)}:{place.id}{value}".encode()).decode().rstrip("=")


def _open_cursor(cursor: str, scope: Mapping[str, Any]) -> Place:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        digest, last_id, *values = text.split(":")
        place = Place(last_id, *map(json.loads, values))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor(cursor) from None
    if digest != _scope_digest(scope) or not ID_PATTERN.match(last_id) or not _comparable(place.value):
        raise BadCursor(cursor)
    return place


def _comparable(value: object) -> bool:
    """Whether the database can compare a value of a cursor, which anybody may have written."""
    match value:
        case None:
            return True
        case bool():
            return False
        case int():
            return -MOST <= value < MOST
        case float():
            return math.isfinite(value)
        case _:
            return False
