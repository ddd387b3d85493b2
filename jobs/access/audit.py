"""Who did what to which object. The row is written in the transaction of the deed: both are there, or neither."""

from __future__ import annotations

from typing import Final, Protocol

from sqlalchemy import select

from jobs.access.scope import OwnTransaction, Project, Transaction
from jobs.access.tables import AuditEntry
from jobs.ids import new_id
from jobs.repository.core import now
from jobs.repository.paging import Page, page

_ABOUT: Final = "adder.about"
MOST_DETAIL: Final = 1000


class Actor(Protocol):
    """Who does something, and with which request."""

    @property
    def project(self) -> Project: ...
    @property
    def action(self) -> str: ...
    @property
    def object_id(self) -> str | None: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def key_name(self) -> str | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...


def about(session: Transaction, object_id: str, detail: str | None = None) -> None:
    """Says which object a transaction makes or changes, where the request's path does not."""
    session.info[_ABOUT] = (object_id, detail)


def nothing_done(session: Transaction) -> None:
    """Says that a transaction changes nothing after all: a request that was repeated."""
    session.info[_ABOUT] = None


def write(session: Transaction, actor: Actor) -> None:
    """Writes the row of a transaction that is about to be committed."""
    found = session.info.get(_ABOUT, (actor.object_id, None))
    if found is None:
        return
    object_id, detail = found
    session.add(
        AuditEntry(
            id=new_id("audit"),
            project_id=actor.project.id,
            time=now(session),
            action=actor.action,
            object_id=None if object_id is None else object_id[:255],
            key_id=actor.key_id,
            key_name=actor.key_name,
            address=None if actor.address is None else actor.address[:64],
            request_id=actor.request_id,
            detail=None if detail is None else detail[:MOST_DETAIL],
        )
    )


def list_entries(session: OwnTransaction, *, object_id: str | None, limit: int, after: str | None) -> Page:
    """What was done in the project, newest first.

    Args:
        session: a transaction of the project.
        object_id: only what was done to this object.
        limit: number of rows.
        after: the cursor of the page before.
    """
    query = select(AuditEntry)
    if object_id is not None:
        query = query.where(AuditEntry.object_id == object_id)
    return page(session, query, AuditEntry.id, {"list": "audit", "object": object_id}, limit, after)
