"""Processes that a job asks for, in SQL, also of rows whose spec cannot be read."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from jobs.tables import Job


class _Asked(FunctionElement[int]):
    """`spec.resources.NAME`; 1 where the spec does not say, as older ones, or is no JSON. Arguments: spec, NAME."""

    type = Integer()
    inherit_cache = True


@compiles(_Asked, "postgresql")
def _(element: _Asked, compiler: SQLCompiler, **options: Any) -> str:
    spec, name = (compiler.process(part, **options) for part in element.clauses)
    return f"coalesce(({spec} -> 'resources' ->> {name})::integer, 1)"


@compiles(_Asked, "sqlite")
def _(element: _Asked, compiler: SQLCompiler, **options: Any) -> str:
    # A text that is no JSON would end the query of all rows.
    spec, name = (compiler.process(part, **options) for part in element.clauses)
    return f"coalesce(CASE WHEN json_valid({spec}) THEN json_extract({spec}, '$.resources.' || {name}) END, 1)"


def asked(name: Literal["processes", "gpus"]) -> ColumnElement[int]:
    """How many of them a job asks for."""
    return _Asked(Job.spec, literal_column(f"'{name}'"))


RANKS: ColumnElement[int] = asked("gpus") * asked("processes")
"""Processes of a job: one of the two is 1."""
