"""Columns of the table of jobs that its reader chooses: a field of the spec, a label, or a value of the result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from addercore.config.schema import fields, schema_of
from api.http.lists import LONGEST_COLUMN
from api.web.formats import UNKNOWN, is_number, metric
from jobs.repository.ordering import LABEL, PREFIXES, RESULT, SPEC
from jobs.spec import KINDS, SUBMITTED
from jobs.tables import Job

FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
MOST: Final = 20
"""Columns that one address may name."""


@dataclass(frozen=True)
class Column:
    """A column by its name: `spec.optimizer.eta`, `label.study`, `result.val/accuracy`."""

    name: str

    @property
    def title(self) -> str:
        """Its name without what it is of."""
        return self.name.partition(".")[2]

    def value(self, job: Job, labels: Mapping[str, str]) -> Any:
        """Its value of a job; None where the job has none."""
        if self.name.startswith(LABEL):
            return labels.get(self.title)
        return _at((job.spec if self.name.startswith(SPEC) else job.result) or {}, self.title)

    def shown(self, job: Job, labels: Mapping[str, str]) -> str:
        """The value as a person reads it."""
        value = self.value(job, labels)
        if value is None:
            return UNKNOWN
        if is_number(value):
            return metric(value, self.title) if self.name.startswith(RESULT) else json.dumps(value)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:LONGEST_COLUMN]


def _at(document: Any, name: str) -> Any:
    """What a dotted name leads to; the name of a metric may have dots and slashes itself."""
    if not isinstance(document, Mapping):
        return None
    if name in document:
        return document[name]
    first, dot, rest = name.partition(".")
    return _at(document.get(first), rest) if dot else None


def columns_of(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns that an address names, each once. Raises ValueError with a sentence about the first bad one."""
    found = tuple(dict.fromkeys(name for name in names if name))
    for name in found:
        if not (
            name.startswith(PREFIXES) and len(name) <= LONGEST_COLUMN and name.isprintable() and name.partition(".")[2]
        ):
            raise ValueError(f"A column is spec.FIELD, label.NAME or result.NAME, got {name[:60]!r}.")
    if len(found) > MOST:
        raise ValueError(f"A table has at most {MOST} columns of the reader's choice, got {len(found)}.")
    return tuple(map(Column, found))


@cache
def spec_columns() -> tuple[str, ...]:
    """A column for each field of each kind's spec."""
    found: dict[str, None] = {}
    for kind in SUBMITTED:
        known = fields(schema_of(KINDS[kind]))
        sections = {name.rpartition(".")[0] for name in known}
        found |= dict.fromkeys(SPEC + name for name in known if name not in sections and name not in ("kind", "labels"))
    return tuple(found)


def known_columns(jobs: Sequence[Job], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Names of columns to choose from: all fields of specs, and what these jobs have as labels and results."""
    mine = {LABEL + key for job in jobs for key in labels[job.id]}
    results = {RESULT + name for job in jobs for name in _numbers(job.result or {}, "")}
    return [*sorted(results), *sorted(mine), *spec_columns()]


def _numbers(result: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif is_number(value) or isinstance(value, str):
            yield prefix + name


def as_cell(value: Any) -> Any:
    """A value in a line of CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(FORMULAS):
        return f"'{value}"
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
