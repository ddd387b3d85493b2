"""For whom a transaction works: for one project, or for the service itself.

Every function of `jobs/repository/` takes a transaction, and `Database.read` and `Database.write` open none without a
scope. So nothing reads or writes an object without saying whose it is, and no function can forget the condition:
`jobs/access/criteria.py` adds it to every query of an `OwnTransaction`, and PostgreSQL's row security repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

DEFAULT_ID: Final = "default"
EVERY: Final = "*"
"""Stands for the service in PostgreSQL's setting."""
SETTING: Final = "adder.project"
"""The setting of PostgreSQL that row security compares with; it holds for one transaction."""
_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class Project:
    """A project, as whoever has found out that a request or a row belongs to it says. It is made of no text.

    `DEFAULT`, `project_of` and the authentication make all that there are.
    """

    id: str
    _seal: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a Project is made by project_of(row), by the authentication, or it is DEFAULT")

    @property
    def setting(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Service:
    """The service's own work, for all projects: claims, lost workers, retention, orphans, metrics."""

    setting: str = EVERY


SERVICE: Final = Service()
DEFAULT: Final = Project(DEFAULT_ID, _SEAL)
"""The project of everything from before there were projects, and of a service without authentication."""

Scope = Project | Service


def project_of(row: Any) -> Project:
    """The project to which a row of the database belongs: a job, a model, a key, or the project's own row.

    Raises:
        TypeError: it is no mapped row that has a project.
    """
    if not hasattr(type(row), "__mapper__") or not hasattr(row, "project_id"):
        raise TypeError(f"{type(row).__name__} is no row that belongs to a project")
    return Project(row.project_id, _SEAL)


class Transaction(Session):
    """An open transaction and its scope. `Database` opens it and commits."""

    scope: Scope


class OwnTransaction(Transaction):
    """A transaction of one project: it sees and changes no other project's rows."""

    scope: Project


class ServiceTransaction(Transaction):
    """A transaction of the service, which sees all projects."""

    scope: Service


@contextmanager
def across(session: Transaction) -> Iterator[None]:
    """Lets a transaction read all projects for a while: for the order and the length of the one queue that they share.

    What is read here must not reach the project's users but as a number that does not tell of others.
    """
    before = session.scope
    if before is SERVICE:
        yield
        return
    session.flush()
    _set(session, SERVICE)
    broken = False
    try:
        yield
    except SQLAlchemyError:
        broken = True
        raise
    finally:
        if broken:
            session.scope = before  # the database takes no further statement of this transaction
        else:
            _set(session, before)


def _set(session: Transaction, scope: Scope) -> None:
    session.scope = scope
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.set_config(SETTING, scope.setting, True)))
