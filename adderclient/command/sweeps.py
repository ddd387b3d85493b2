"""``adder sweep submit|list|show|table|cancel|delete`` and ``adder compare``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from adderclient.client import Client
from adderclient.command import ids, specs
from adderclient.command.app import After, AsJson, IdempotencyKey, Limit, Overrides, Url, ValidateOnly, Watch, connect
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, OK, UsageError
from adderclient.command.formats import DASH, ago, duration, energy, named, number, text
from adderclient.command.output import collect, fields, note, note_more, print_json, print_list, status, table
from adderclient.command.submitting import refuse_with_validate_only, submitted
from adderclient.command.terminal import console, errors_console, say
from adderclient.records import Sweep, Trial

SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's id, its end, or @last.")]
MOST_SHOWN = 30
"""Trials that `show` lists."""


class Format(StrEnum):
    text = "text"
    csv = "csv"
    md = "md"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    group = typer.Typer(name="sweep", help="Vary a spec by a grid or a search.", no_args_is_help=True)
    group.command()(submit)
    group.command(name="list")(list_sweeps)
    for command in (show, watch, cancel, delete):
        group.command()(command)
    group.command(name="table")(show_table)
    app.add_typer(group)
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
        follow = (lambda: _watch_to_end(client, made.id, as_json)) if watch else None
        remark = f"{made.progress.get('total')} jobs; follow them with: adder sweep watch {made.id}"
        submitted(made, as_json, follow, remark)


def list_sweeps(limit: Limit = 20, after: After = None, url: Url = None, as_json: AsJson = False) -> None:
    """List sweeps, newest first."""
    with connect(url) as client:
        found, cursor = collect(lambda size, at: client.sweeps.list(limit=size, after=at), limit, after)
    if as_json:
        print_list((sweep.raw for sweep in found), cursor is not None, cursor)
        return
    rows = ((one.id, one.name, status(one.status), _counts(one), _best(one), ago(one.created_at)) for one in found)
    table(["SWEEP", "NAME", "STATUS", "JOBS", "BEST", "CREATED"], rows)
    note_more(limit, cursor)


def show(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a sweep and its trials."""
    with connect(url) as client:
        sweep = ids.sweep_id(client, sweep)
        found = client.sweeps.get(sweep)
        if as_json:
            print_json(found.raw)
            return
        _show(found)
        trials = list(client.sweeps.trials(sweep))
    if trials:
        console().print()
        objective = str(found.spec.get("objective"))
        rows = (
            (one.number, _state(one), one.parameters, named(objective, one.value), one.job_id, one.message or "")
            for one in trials[:MOST_SHOWN]
        )
        table(["TRIAL>", "STATUS", "PARAMETERS", "VALUE>", "JOB", "WHY"], rows)
    if len(trials) > MOST_SHOWN:
        note(f"{len(trials) - MOST_SHOWN} further trials; all of them: adder sweep table {sweep}")


def _state(trial: Trial) -> Text:
    """The status of a trial; one that the server calls running has a job, which may still be queued, or paused."""
    return status((trial.job_status or trial.status) if trial.status == "running" else trial.status)


def watch(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a sweep's progress until it has ended; exit code 1 if it did not succeed."""
    with connect(url) as client:
        _watch_to_end(client, ids.sweep_id(client, sweep), as_json)


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
    names = list(found["fields"])
    columns = ["", *names, "N>", f"{found['objective']}>", "STD>"]
    rows = (_row(found, row, at == found["best"]) for at, row in enumerate(found["rows"]))
    table(columns, rows)


def _row(table: Mapping[str, Any], row: Mapping[str, Any], best: bool) -> list[Any]:
    """A row of a sweep's table; one without a value says why."""
    objective, parameters = table["objective"], (row["parameters"].get(name) for name in table["fields"])
    mean = named(objective, row["mean"]) if row["n"] else ", ".join(dict.fromkeys(row["states"]))
    return ["*" if best else "", *parameters, row["n"], mean, named(objective, row["std"])]


def cancel(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel all of a sweep's jobs that have not ended."""
    with connect(url) as client:
        found = client.sweeps.cancel(ids.sweep_id(client, sweep))
    if as_json:
        print_json(found.raw)
    else:
        say(f"{found.id} {found.status}")


def delete(sweep: SweepId, url: Url = None) -> None:
    """Forget a finished sweep; its jobs stay."""
    with connect(url) as client:
        sweep = ids.sweep_id(client, sweep)
        client.sweeps.delete(sweep)
    note(f"{sweep} deleted; its jobs stay")


def compare(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB JOB…", help="2 to 20 jobs.")],
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
    rows: list[list[Any]] = [["status", *(status(job["status"]) for job in found["jobs"])]]
    rows.append(["ran for", *(duration(job["seconds"]) for job in found["jobs"])])
    rows += [[one["pointer"], *one["values"]] for one in found["differences"]]
    rows += [[name, *(named(name, value) for value in values)] for name, values in found["results"].items()]
    costs = [job["counts"] or {} for job in found["jobs"]]
    rows.append(["parameters", *(number(cost.get("parameters")) for cost in costs)])
    for name, title in (("add", "additions"), ("mul", "multiplications"), ("xnor", "XNORs")):
        rows.append([title, *(number((cost.get("operations") or {}).get(name)) for cost in costs)])
    rows.append(["energy, µJ an image", *(energy(cost.get("energy_joules")) for cost in costs)])
    table(["", *(f"…{job['id'][-8:]}" for job in found["jobs"])], rows)
    if not found["differences"]:
        note("Their specs are the same.")


def _counts(sweep: Sweep) -> str:
    """``12/20 done, 2 running, 1 failed``."""
    counts = sweep.progress
    parts = [f"{count} {name}" for name, count in counts.items() if count and name not in ("done", "total")]
    return ", ".join([f"{counts.get('done', 0)}/{counts.get('total', 0)} done", *parts])


def _best(sweep: Sweep) -> str:
    if sweep.best is None:
        return DASH
    return f"{named(str(sweep.spec.get('objective')), sweep.best.value)} ({text(sweep.best.parameters)})"


def _show(sweep: Sweep) -> None:
    fields(
        [
            ("sweep", sweep.id),
            ("name", sweep.name),
            ("status", status(sweep.status)),
            ("jobs", _counts(sweep)),
            ("objective", sweep.spec.get("objective")),
            ("best", _best(sweep)),
            ("job of the best", sweep.best and sweep.best.job_id),
            ("why", sweep.message),
            ("created", sweep.created_at),
            ("finished", sweep.finished_at),
        ]
    )


def _watch_to_end(client: Client, sweep_id: str, as_json: bool) -> None:
    """Follows a sweep on stderr, prints its outcome on stdout, and exits with the exit code of that outcome."""
    try:
        last = _follow(client, sweep_id)
    except KeyboardInterrupt:
        note(f"No longer watching; {sweep_id} goes on. Stop it with: adder sweep cancel {sweep_id}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(last.raw)
    else:
        _show(last)
        note(f"All of it: adder sweep table {sweep_id}")
    raise typer.Exit(OK if last.status == "succeeded" else JOB_FAILED)


def _follow(client: Client, sweep_id: str) -> Sweep:
    """A line that moves on a terminal, a line for each change elsewhere."""
    screen = errors_console()
    said = ""
    last: Sweep | None = None
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        for last in client.sweeps.watch(sweep_id):
            line = f"{last.status}  {_counts(last)}  best {_best(last)}"
            if screen.is_terminal:
                live.update(Text(line), refresh=True)
            elif line != said:
                screen.print(line, markup=False, soft_wrap=True)
            said = line
    if last is None:
        raise AssertionError("a sweep is seen at least once")
    return last
