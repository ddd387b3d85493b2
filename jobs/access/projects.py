"""Projects: making, finding, changing and deleting them. Operators alone do that, across all projects."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, select

from jobs.access.limits import NAMES, Limits, close
from jobs.access.scope import DEFAULT_ID, Project, ServiceTransaction, project_of
from jobs.access.tables import KeyRow, ProjectRow, Usage
from jobs.errors import Conflict, NotFound
from jobs.finding_tables import ModelAlias
from jobs.ids import new_id
from jobs.repository.core import now
from jobs.repository.paging import Page, page
from jobs.tables import Dataset, Job, Model, Sweep, Webhook

NAME: Final = r"^[a-z][a-z0-9-]{0,62}$"
OBJECTS: Final = (Job, Model, Dataset, Sweep)


def create(session: ServiceTransaction, name: str, limits: Limits) -> ProjectRow:
    """Makes a project.

    Raises:
        Conflict: another one has the name.
    """
    _require_free(session, name)
    row = ProjectRow(id=new_id("project"), name=name, created_at=now(session))
    for limit in NAMES:
        setattr(row, limit, getattr(limits, limit))
    session.add(row)
    session.flush()
    return row


def _require_free(session: ServiceTransaction, name: str) -> None:
    if session.execute(select(ProjectRow.id).where(ProjectRow.name == name)).first() is not None:
        raise Conflict(f"There is a project {name!r} already.")


def find(session: ServiceTransaction, reference: str) -> ProjectRow:
    """A project by its id or its name. Raises NotFound."""
    either = (ProjectRow.id == reference) | (ProjectRow.name == reference)
    row = session.execute(select(ProjectRow).where(either).order_by(ProjectRow.id).limit(1)).scalar_one_or_none()
    if row is None:
        raise NotFound("project", reference[:60])
    return row


def scope_of(row: ProjectRow) -> Project:
    """The scope of transactions of this project."""
    return project_of(row)


def list_projects(session: ServiceTransaction, *, limit: int, after: str | None) -> Page:
    """All projects, newest first."""
    return page(session, select(ProjectRow), ProjectRow.id, {"list": "projects"}, limit, after)


def change(session: ServiceTransaction, reference: str, name: str | None, limits: dict[str, Any]) -> ProjectRow:
    """Changes a project's name and those of its limits that are named.

    Raises:
        NotFound: there is no such project.
        Conflict: another one has the name.
    """
    row = find(session, reference)
    if name is not None and name != row.name:
        _require_free(session, name)
        row.name = name
    for limit, value in limits.items():
        setattr(row, limit, value)
    session.flush()
    return row


def remove(session: ServiceTransaction, reference: str) -> None:
    """Deletes a project that has no objects any more, with its keys and accounts. Its audit stays.

    Raises:
        NotFound: there is no such project.
        Conflict: it still has jobs, models, datasets or sweeps, or it is the project `default`.
    """
    row = find(session, reference)
    if row.id == DEFAULT_ID:
        raise Conflict("The project default stays: it has everything that was made without a key.")
    close(session, row)
    for table in OBJECTS:
        if session.execute(select(table.id).where(table.project_id == row.id).limit(1)).first() is not None:
            raise Conflict(f"The project still has {table.__tablename__}. Delete them first.")
    for owned in (ModelAlias, Usage, Webhook, KeyRow):
        session.execute(delete(owned).where(owned.project_id == row.id))
    session.delete(row)
    session.flush()
