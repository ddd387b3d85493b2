"""Listings go on where a row cannot be read: it is left out and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from jobs.documents import require_readable

View = TypeVar("View")
DATA_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What goes wrong with the data of a row. Errors of the database are none of these."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Readable(Generic[View]):
    """What became of the rows of a listing."""

    views: list[View]
    unreadable: list[str]
    """Ids of the rows that are left out."""


def readable_rows(rows: Iterable[Any], check: Callable[[Any], object] = require_readable) -> Readable[Any]:
    """The rows whose documents can be read: `check` raises for the others."""

    def checked(row: Any) -> Any:
        check(row)
        return row

    return readable(rows, checked)


def readable(rows: Iterable[Any], make: Callable[[Any], View]) -> Readable[View]:
    """What `make` makes of each row, without those whose documents cannot be read or that it cannot be made of."""
    views: list[View] = []
    unreadable: list[str] = []
    for row in rows:
        try:
            require_readable(row)
            views.append(make(row))
        except DATA_ERRORS as error:
            log.warning("row.unreadable", row=row.id, error=str(error)[:500])
            unreadable.append(row.id)
    return Readable(views, unreadable)
