"""``adder sweep`` with its verbs, and ``adder compare``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, copied, ids, specs
from adderclient.command.app import AsJson, IdempotencyKey, Overrides, Url, ValidateOnly, Watch, connect
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError, reading
from adderclient.command.follow import watch_sweep_to_end
from adderclient.command.groups import group
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.objects import of_kind
from adderclient.command.output import fields, note, print_json, status, table
from adderclient.command.several import each
from adderclient.command.showing import print_objects
from adderclient.command.submitting import refuse_with_validate_only, submitted
from adderclient.command.sweep_text import best_of, counts_of, trial_columns
from adderclient.command.terminal import say
from adderclient.formats import ago, duration, energy, named, number, text
from adderclient.records import Sweep, Trial

OF_SWEEPS = completion.objects("sweep")
SweepId = Annotated[
    str, typer.Argument(metavar="SWEEP", help="A sweep's id, its end, or @last.", autocompletion=OF_SWEEPS)
]


class Format(StrEnum):
    text = "text"
    csv = "csv"
    md = "md"


COLUMNS: tuple[Column[Sweep], ...] = (
    Column("id", lambda one: one.id, heading="SWEEP"),
    Column("status", lambda one: one.status, lambda one: status(one.status), rank=1),
    Column("name", lambda one: one.name, lambda one: one.name or "", rank=3, cut=True),
    Column("jobs", counts_of, rank=4, cut=True),
    Column("best", lambda one: one.best and one.best.value, best_of, rank=2, cut=True),
    Column("labels", lambda one: one.labels, lambda one: text(one.labels), rank=5, cut=True),
    Column("created", lambda one: one.created_at, lambda one: ago(one.created_at), rank=6),
    Column("finished", lambda one: one.finished_at, lambda one: ago(one.finished_at), extra=True),
    Column("objective", lambda one: one.spec.get("objective"), extra=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    verbs: dict[str, Callable[..., None]] = {"submit": submit, "trials": list_trials, "table": show_table}
    verbs |= {"cancel": cancel, **of_kind("sweep")}
    made = group("sweep", "Vary a spec by a grid or a search.", list_sweeps, verbs)
    app.add_typer(made)
    app.add_typer(made, name="sweeps", hidden=True)
    app.command()(compare)


def submit(
    sweep: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON: base, and grid or search; - is stdin.")],
    overrides: Overrides = None,
    watch: Watch = False,
    validate_only: ValidateOnly = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a sweep. Its id goes to stdout: SWEEP=$(adder sweep submit sweep.yaml)."""
    if validate_only:
        refuse_with_validate_only(watch, idempotency_key)
    document = specs.load(sweep, overrides or ())
    with connect(url) as client:
        if validate_only:
            found = client.sweeps.validate(document)
            if as_json:
                print_json(found)
            else:
                fields([("valid", True), ("jobs", found.get("jobs"))])
            return
        made = client.sweeps.submit(document, idempotency_key)
        follow = (lambda: watch_sweep_to_end(client, made.id, as_json)) if watch else None
        remark = f"{made.progress.get('total')} jobs; follow them with: {copied.adder('sweep watch', made.id)}"
        submitted(made, as_json, follow, remark)


@listing(limit=20, page="/sweeps")
def list_sweeps(client: Client, request: Request) -> Listed[Sweep]:
    """List sweeps, newest first."""
    return Listed(request.read(lambda size, at: client.sweeps.list(limit=size, after=at)), COLUMNS)


@listing(paged=False)
def list_trials(client: Client, request: Request, sweep: SweepId) -> Listed[Trial]:
    """List the trials of a sweep."""
    sweep = ids.sweep_id(client, sweep)
    objective = str(client.sweeps.get(sweep).spec.get("objective"))
    return Listed(list(client.sweeps.trials(sweep)), trial_columns(objective))


def show_table(
    sweep: SweepId,
    format: Annotated[Format, typer.Option("--format", "-f", help="For people, or as a file.")] = Format.text,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.svg", help="Write the picture there, too.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the results: a row for each combination, over its seeds where it has several."""
    if format is not Format.text and as_json:
        raise UsageError("--format and --json exclude each other")
    with connect(url) as client:
        sweep = ids.sweep_id(client, sweep)
        if figure is not None:
            figure.write_text(client.sweeps.figure(sweep), encoding="utf-8")
        if format is not Format.text:
            say(client.sweeps.table_text(sweep, "csv" if format is Format.csv else "md"), end="")
            return
        found = client.sweeps.table(sweep)
    if as_json:
        print_json(found)
        return
    with reading():
        headings = ["", *found["fields"], "N>", f"{found['objective']}>", "STD>"]
        rows = [_row(found, row, at == found["best"]) for at, row in enumerate(found["rows"])]
    table(headings, rows, all_of_them=True)


def _row(table: Mapping[str, Any], row: Mapping[str, Any], best: bool) -> list[Any]:
    """A row of a sweep's table; one without a value says why."""
    objective, parameters = table["objective"], (row["parameters"].get(name) for name in table["fields"])
    mean = named(objective, row["mean"]) if row["n"] else ", ".join(dict.fromkeys(row["states"]))
    return ["*" if best else "", *parameters, row["n"], mean, named(objective, row["std"])]


def cancel(
    sweeps: Annotated[
        list[str], typer.Argument(metavar="SWEEP…", help="Sweeps' ids, their ends, or @last.", autocompletion=OF_SWEEPS)
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Cancel all jobs of sweeps that have not ended."""
    with connect(url) as client:
        done, failures = each(client, sweeps, ids.sweep_id, client.sweeps.cancel)
    if as_json:
        print_objects([sweep.raw for sweep in done], len(sweeps) > 1)
    for sweep in [] if as_json else done:
        say(f"{sweep.id} {sweep.status}")
    failures.end()


def compare(
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB JOB…", help="2 to 20 jobs.", autocompletion=completion.objects("job"))
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show in which fields the specs of jobs differ, and the results of each."""
    if len(jobs) < 2:
        raise UsageError("name at least two jobs to compare")
    with connect(url) as client:
        found = client.compare(*(ids.job_id(client, job) for job in jobs))
    if as_json:
        print_json(found)
        return
    with reading():
        headings = ["", *(f"…{job['id'][-8:]}" for job in found["jobs"])]
        rows = _compared(found)
    table(headings, rows, all_of_them=True)
    if not found["differences"]:
        note("Their specs are the same.")


def _compared(found: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of a comparison: a cell for each job."""
    rows: list[list[Any]] = [["status", *(status(job["status"]) for job in found["jobs"])]]
    rows.append(["ran for", *(duration(job["seconds"]) for job in found["jobs"])])
    rows += [[one["pointer"], *one["values"]] for one in found["differences"]]
    rows += [[name, *(named(name, value) for value in values)] for name, values in found["results"].items()]
    costs = [job["counts"] or {} for job in found["jobs"]]
    rows.append(["parameters", *(number(cost.get("parameters")) for cost in costs)])
    for name, title in (("add", "additions"), ("mul", "multiplications"), ("xnor", "XNORs")):
        rows.append([title, *(number((cost.get("operations") or {}).get(name)) for cost in costs)])
    rows.append(["energy, µJ an image", *(energy(cost.get("energy_joules")) for cost in costs)])
    return rows
