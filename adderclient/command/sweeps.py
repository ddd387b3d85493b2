"""``adder sweep`` with its verbs."""

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
from adderclient.command.output import fields, print_json, status
from adderclient.command.several import each
from adderclient.command.showing import print_objects
from adderclient.command.submitting import refuse_with_validate_only, submitted
from adderclient.command.sweep_text import best_of, counts_of, result_columns, trial_columns
from adderclient.command.terminal import say
from adderclient.formats import ago, text
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


@listing(paged=False)
def show_table(
    client: Client,
    request: Request,
    sweep: SweepId,
    format: Annotated[
        Format, typer.Option("--format", "-f", help="For people, or as the server's file.")
    ] = Format.text,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.svg", help="Write the picture there, too.")
    ] = None,
) -> Listed[tuple[bool, Mapping[str, Any]]]:
    """Show the results: a row for each combination, over its seeds where it has several."""
    if format is not Format.text and (request.as_json or request.as_csv):
        raise UsageError("--format excludes --json and --csv")
    sweep = ids.sweep_id(client, sweep)
    if figure is not None:
        figure.write_text(client.sweeps.figure(sweep), encoding="utf-8")
    if format is not Format.text:
        say(client.sweeps.table_text(sweep, "csv" if format is Format.csv else "md"), end="")
        raise typer.Exit
    found = client.sweeps.table(sweep)
    with reading():
        rows = [(at == found["best"], row) for at, row in enumerate(found["rows"])]
        return Listed(rows, result_columns(found), raw=lambda row: row[1], document=found, all_of_them=True)


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
