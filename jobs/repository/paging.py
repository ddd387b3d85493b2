"""Pages of a list, newest first. A cursor is opaque and valid for one list with one set of filters."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from jobs.errors import BadCursor
from jobs.ids import ID_PATTERN


@dataclass(frozen=True)
class Page:
    rows: Sequence[Any]
    next: str | None
    """Cursor of the following page; None at the end."""


def page(
    session: Session, query: Select[Any], id_column: Any, scope: Mapping[str, Any], limit: int, after: str | None
) -> Page:
    """One page of `query`, newest first. `scope` names the list and its filters; a cursor is valid for these alone."""
    query = query.order_by(id_column.desc())
    if after is not None:
        query = query.where(id_column < _open_cursor(after, scope))
    rows = session.execute(query.limit(limit + 1)).scalars().all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, _make_cursor(rows[-1].id, scope) if more else None)


def _scope_digest(scope: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()[:12]


def _make_cursor(last_id: str, scope: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(f"{_scope_digest(scope)}:{last_id}".encode()).decode().rstrip("=")


def _open_cursor(cursor: str, scope: Mapping[str, Any]) -> str:
    try:
        digest, _, last_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
    except ValueError:
        raise BadCursor(cursor) from None
    if digest != _scope_digest(scope) or not ID_PATTERN.match(last_id):
        raise BadCursor(cursor)
    return last_id
