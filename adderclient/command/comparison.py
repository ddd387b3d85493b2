"""``adder compare``: jobs beside each other, one in each column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from adderclient.client import Client
from adderclient.command import completion, ids
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError, reading
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import status
from adderclient.formats import duration, energy, named, number, text

END_OF_ID = 8
"""Characters by which people tell the jobs apart."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    values: Sequence[Any]
    """Of each job, for programs."""
    shown: Sequence[str | Text]
    """How people read them."""


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(compare)


@listing(paged=False)
def compare(
    client: Client,
    request: Request,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB JOB…", help="2 to 20 jobs.", autocompletion=completion.objects("job"))
    ],
) -> Listed[Line]:
    """Show in which fields the specs of jobs differ, and the results of each."""
    if len(jobs) < 2:
        raise UsageError("name at least two jobs to compare")
    found = client.compare(*(ids.job_id(client, job) for job in jobs))
    with reading():
        columns = [Column[Line]("what", lambda one: one.what, heading="")]
        columns += [_column(at, str(job["id"])) for at, job in enumerate(found["jobs"])]
        same = () if found["differences"] else ("Their specs are the same.",)
        return Listed(list(_lines(found)), columns, same, document=found, all_of_them=True)


def _column(at: int, job: str) -> Column[Line]:
    return Column(job, lambda one: one.values[at], lambda one: one.shown[at], heading=f"…{job[-END_OF_ID:]}")


def _lines(found: Mapping[str, Any]) -> Iterator[Line]:
    jobs = found["jobs"]
    yield Line("status", [job["status"] for job in jobs], [status(job["status"]) for job in jobs])
    yield Line("ran for", [job["seconds"] for job in jobs], [duration(job["seconds"]) for job in jobs])
    for one in found["differences"]:
        yield Line(one["pointer"], one["values"], [text(value) for value in one["values"]])
    for name, values in found["results"].items():
        yield Line(name, values, [named(name, value) for value in values])
    costs = [job["counts"] or {} for job in jobs]
    yield _numbers("parameters", [cost.get("parameters") for cost in costs])
    for name, title in (("add", "additions"), ("mul", "multiplications"), ("xnor", "XNORs")):
        yield _numbers(title, [(cost.get("operations") or {}).get(name) for cost in costs])
    joules = [cost.get("energy_joules") for cost in costs]
    micro = [None if value is None else value * 1e6 for value in joules]
    yield Line("energy, µJ an image", micro, [energy(value) for value in joules])


def _numbers(what: str, values: Sequence[Any]) -> Line:
    return Line(what, values, [number(value) for value in values])
