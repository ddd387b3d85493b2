"""The filters of the job list, as they stand in the address of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from api.http.lists import LONGEST_COLUMN
from api.jobs.columns import Column, columns_of
from api.web.sorting import Asked
from jobs.states import Status


@dataclass(frozen=True)
class Filters(Asked):
    """Jobs must match all of these; an empty field filters nothing."""

    status: tuple[str, ...] = ()
    kind: str = ""
    columns: tuple[Column, ...] = ()
    """Columns that the reader chose."""
    group: str = ""
    """The label by which jobs are grouped; empty for a row for each job."""

    def pairs(self) -> list[tuple[str, str]]:
        kind = [("kind", self.kind)] if self.kind else []
        view = [("col", column.name) for column in self.columns] + ([("group", self.group)] if self.group else [])
        return [*(("status", status) for status in self.status), *kind, *super().pairs(), *view]

    def without_column(self, column: Column) -> Filters:
        return replace(self, columns=tuple(one for one in self.columns if one != column))

    def with_status(self, status: Sequence[str]) -> Filters:
        return replace(self, status=tuple(status))

    @property
    def counted(self) -> bool:
        """Whether the numbers of jobs by status, which are of all jobs, are of these."""
        return not (self.kind or self.narrowed)

    def __bool__(self) -> bool:
        return bool(self.status or self.kind or self.narrowed)


def parse_filters(
    asked: Asked, status: Sequence[str], kind: str, columns: Sequence[str] = (), group: str = ""
) -> Filters:
    """The filters of a query string. Raises ValueError with a sentence about the first one that is malformed."""
    for value in filter(None, status):
        if value not in set(Status):
            raise ValueError(f"There is no status {value!r}; known: {', '.join(Status)}.")
    if len(group) > LONGEST_COLUMN or not group.isprintable():
        raise ValueError(f"Jobs are grouped by the name of a label, got {group[:60]!r}.")
    chosen = columns_of(columns)
    return Filters(**vars(asked), status=tuple(filter(None, status)), kind=kind, columns=chosen, group=group)
