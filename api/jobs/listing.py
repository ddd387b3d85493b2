"""The jobs of a view of the table, without its pages."""

from __future__ import annotations

from api.http.listing import readable_rows
from api.jobs.filters import Filters
from jobs.access.scope import OwnTransaction
from jobs.repository import finding
from jobs.tables import Job

CHUNK = 100


def all_jobs(session: OwnTransaction, filters: Filters, most: int) -> list[Job]:
    """The first `most` jobs of the list."""
    found: list[Job] = []
    after: str | None = None
    while len(found) < most:
        part = finding.list_jobs(
            session, filters.wanted(), status=filters.status, kind=filters.kind or None, limit=CHUNK, after=after
        )
        found += readable_rows(part.rows).views
        after = part.next
        if after is None:
            break
    return found[:most]
