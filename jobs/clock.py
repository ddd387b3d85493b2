"""Time comes from the database, in integer milliseconds since 1970 (UTC): the hosts' clocks need not agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now_ms(FunctionElement[int]):  # noqa: N801  (reads as an SQL function)
    """SQL expression: the current time in ms."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "postgresql")
def _postgresql(element: now_ms, compiler: Any, **kw: Any) -> str:
    # clock_timestamp(), because now() stands still within a transaction.
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(now_ms, "sqlite")
def _sqlite(element: now_ms, compiler: Any, **kw: Any) -> str:
    # julianday, because unixepoch() has no sub-second part before SQLite 3.42.
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


def to_datetime(ms: int | None) -> datetime | None:
    """The time in UTC, as the API shows it."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def rfc3339(ms: int) -> str:
    """A moment, in milliseconds since 1970, as RFC 3339 in UTC: `2025-11-21T03:00:00.123Z`."""
    moment = to_datetime(ms)
    assert moment is not None  # for mypy: `ms` is not None
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
