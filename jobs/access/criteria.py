"""Adds `project_id = …` to every query of a project's transaction, wherever in it an object of a project stands.

SQLAlchemy's global criteria do that for SELECT, UPDATE and DELETE of mapped classes, in subqueries and joins too. One
option with the criteria of all classes is made once: its parts are compiled with each statement once and cached with
it, and the project is a bound value that is read when the statement runs. It costs about 20 µs a statement.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, event, exists
from sqlalchemy.orm import LoaderCriteriaOption, Mapper, ORMExecuteState, with_loader_criteria
from sqlalchemy.orm.interfaces import CriteriaOption

from jobs.access.scope import OwnTransaction, Project, Transaction

_running = threading.local()
"""`project`: the id for the statement that this thread is about to run."""
_PROJECT = bindparam("adder_project", callable_=lambda: _running.project, type_=String)
UNFILTERED = frozenset({"outbox"})
"""Tables without criteria: wake-ups are for the relay, which acts for the service."""


class _OwnRows(CriteriaOption):
    """All criteria as one option of a statement. Its key is constant, so a compiled statement serves every project."""

    _cache_key_traversal = []  # noqa: RUF012
    propagate_to_loaders = True

    def process_compile_state(self, compile_state: Any) -> None:
        self.get_global_criteria(compile_state.global_attributes)

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Iterable[Any]) -> None:
        self.process_compile_state(compile_state)

    def get_global_criteria(self, attributes: dict[Any, Any]) -> None:
        for option in _criteria():
            option.get_global_criteria(attributes)


_OWN_ROWS = _OwnRows()


@cache
def _criteria() -> tuple[LoaderCriteriaOption, ...]:
    from jobs.tables import Base

    found = []
    for mapper in Base.registry.mappers:
        condition = condition_of(mapper)
        if condition is not None:
            found.append(with_loader_criteria(mapper.class_, condition, include_aliases=True))
    return tuple(found)


def condition_of(mapper: Mapper[Any]) -> ColumnElement[bool] | None:
    """The condition that a row belongs to the project; None for tables that belong to nobody."""
    table: Any = mapper.local_table
    if table.name in UNFILTERED:
        return None
    if "project_id" in mapper.all_orm_descriptors:
        own: ColumnElement[bool] = mapper.class_.project_id == _PROJECT
        return own
    for column, owner in owners_of(table):
        # A plain table and not a mapped class: the criteria of that class need not be added to it once more.
        outer = owner.alias(f"owner_of_{table.name}")
        mine = getattr(mapper.class_, column.name)
        return exists().where(outer.c.id == mine, outer.c.project_id == _PROJECT).correlate_except(outer)
    return None


def owners_of(table: Any) -> Iterator[tuple[Any, Any]]:
    """The columns of a table's primary key that name a row of a project, with the table of that row."""
    for column in table.primary_key:
        for key in column.foreign_keys:
            if "project_id" in key.column.table.c:
                yield column, key.column.table


@event.listens_for(Transaction, "do_orm_execute", propagate=True)
def _own_rows(state: ORMExecuteState) -> None:
    scope = state.session.scope if isinstance(state.session, OwnTransaction) else None
    if not isinstance(scope, Project) or not (state.is_select or state.is_update or state.is_delete):
        return
    _running.project = scope.id
    if not state.is_column_load and not state.is_relationship_load:
        state.statement = state.statement.options(_OWN_ROWS)
