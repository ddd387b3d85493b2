"""The table of jobs by groups: those with one value of a label, such as the trials of a sweep, with mean and spread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Final

from api.jobs.columns import Column
from api.jobs.job_view import accuracy
from api.web.formats import UNKNOWN, is_number, metric
from jobs.states import Status
from jobs.tables import Job

MOST_GROUPED: Final = 1000
"""Jobs of which groups are made: the first ones of the list."""
ACCURACY: Final = "val/accuracy"


@dataclass(frozen=True)
class Group:
    """Jobs with one value of a label."""

    value: str | None
    """None: the jobs without that label."""
    count: int
    succeeded: int
    cells: Sequence[str]
    """Accuracy and each chosen column: mean ± standard deviation of numbers, else the values."""


def groups_of(
    jobs: Sequence[Job], labels: Mapping[str, Mapping[str, str]], key: str, columns: Sequence[Column]
) -> list[Group]:
    """Groups by the label `key`, in the order of their first jobs."""
    found: dict[str | None, list[Job]] = defaultdict(list)
    for job in jobs:
        found[labels[job.id].get(key)].append(job)
    return [_group(value, members, labels, columns) for value, members in found.items()]


def _group(
    value: str | None, jobs: Sequence[Job], labels: Mapping[str, Mapping[str, str]], columns: Sequence[Column]
) -> Group:
    reached = [one for job in jobs if (one := accuracy(job.result)) is not None]
    cells = [spread(reached, ACCURACY)]
    for column in columns:
        values = [column.value(job, labels[job.id]) for job in jobs]
        numbers = [one for one in values if is_number(one)]
        if numbers and len(numbers) == sum(one is not None for one in values):
            cells.append(spread(numbers, column.title))
        else:
            shown = dict.fromkeys(column.shown(job, labels[job.id]) for job in jobs)
            cells.append(", ".join(list(shown)[:5]) + (" …" if len(shown) > 5 else ""))
    return Group(value, len(jobs), sum(job.status == Status.SUCCEEDED for job in jobs), cells)


def spread(values: Sequence[float], name: str) -> str:
    """`96.40 % ± 0.44 % (5)`: mean, standard deviation of the sample (n − 1) and number; equal values as one."""
    if not values:
        return UNKNOWN
    if len(set(values)) == 1:
        return metric(values[0], name)
    return f"{metric(mean(values), name)} ± {metric(stdev(values), name)} ({len(values)})"
