"""``adder sweep submit|list|show|table|cancel|delete`` and ``adder compare``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from adderclient.client import Client
from adderclient.command import specs
from adderclient.command.app import AsJson, Limit, Url, connect
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, OK
from adderclient.command.output import (
    ago,
    console,
    duration,
    fields,
    note,
    print_json,
    print_list,
    status,
    table,
    text,
)
from adderclient.sweeps import Sweep

SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's id.")]
MOST_SHOWN = 30
"""Trials that `show` lists of a sweep."""


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
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override a field: base.epochs=5.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and show the progress.")] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check it and say how many jobs it makes; submit nothing.")
    ] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never creates a second sweep.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a sweep. Its id goes to stdout: SWEEP=$(adder sweep submit sweep.yaml)."""
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
        if watch:
            if not as_json:
                print(made.id, flush=True)
            _watch_to_end(client, made.id, as_json)
        elif as_json:
            print_json(made.raw)
        else:
            print(made.id)
            note(f"{made.progress.get('total')} jobs; follow them with: adder sweep watch {made.id}")


def list_sweeps(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List sweeps, newest first."""
    with connect(url) as client:
        found: list[Sweep] = []
        after: str | None = None
        more = True
        while more and len(found) < limit:
            page = client.sweeps.list(limit=min(limit - len(found), 100), after=after)
            found += page
            after, more = page.next, page.has_more and page.next is not None
    if as_json:
        print_list((sweep.raw for sweep in found), more, after)
        return
    rows = (
        (one.id, one.name or "-", status(one.status), _counts(one), _best(one), ago(one.created_at)) for one in found
    )
    table(["SWEEP", "NAME", "STATUS", "JOBS", "BEST", "CREATED"], rows)
    if more:
        note(f"There are more: --limit {limit * 2}")


def show(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a sweep and its trials."""
    with connect(url) as client:
        found = client.sweeps.get(sweep)
        if as_json:
            print_json(found.raw)
            return
        _show(found)
        trials = list(client.sweeps.trials(sweep))
    if trials:
        console().print()
        rows = (
            (one.number, status(one.status), one.parameters, one.value, one.job_id, one.message or "")
            for one in trials[:MOST_SHOWN]
        )
        table(["TRIAL>", "STATUS", "PARAMETERS", "VALUE>", "JOB", "WHY"], rows)
    if len(trials) > MOST_SHOWN:
        note(f"{len(trials) - MOST_SHOWN} further trials; all of them: adder sweep table {sweep}")


def watch(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a sweep's progress until it ended; exit code 1 if it did not succeed."""
    with connect(url) as client:
        _watch_to_end(client, sweep, as_json)


def show_table(
    sweep: SweepId,
    format: Annotated[Format, typer.Option("--format", "-f", help="For people, or as a file.")] = Format.text,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.svg", help="Write the picture there, too.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what came out: a row for each combination, over its seeds where it has several."""
    with connect(url) as client:
        if figure is not None:
            figure.write_text(client.sweeps.figure(sweep), encoding="utf-8")
        if format is not Format.text and not as_json:
            sys.stdout.write(client.sweeps.table_text(sweep, "csv" if format is Format.csv else "md"))
            return
        found = client.sweeps.table(sweep)
    if as_json:
        print_json(found)
        return
    names = list(found["fields"])
    columns = ["", *names, "N>", f"{found['objective']}>", "STD>"]
    rows = (_row(row, names, at == found["best"]) for at, row in enumerate(found["rows"]))
    table(columns, rows)


def _row(row: Mapping[str, Any], names: Sequence[str], best: bool) -> list[Any]:
    """Of a table; what has no value says why."""
    mean = row["mean"] if row["n"] else ", ".join(dict.fromkeys(row["states"]))
    return ["*" if best else "", *(row["parameters"].get(name) for name in names), row["n"], mean, row["std"]]


def cancel(sweep: SweepId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel all of a sweep's jobs that have not ended."""
    with connect(url) as client:
        found = client.sweeps.cancel(sweep)
    if as_json:
        print_json(found.raw)
    else:
        print(f"{found.id} {found.status}")


def delete(sweep: SweepId, url: Url = None) -> None:
    """Forget a finished sweep; its jobs stay."""
    with connect(url) as client:
        client.sweeps.delete(sweep)
    note(f"{sweep} deleted; its jobs stay")


def compare(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB JOB…", help="2 to 20 jobs.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what the specs of jobs differ in, and what each came to."""
    with connect(url) as client:
        found = client.compare(*jobs)
    if as_json:
        print_json(found)
        return
    rows: list[list[Any]] = [["status", *(status(job["status"]) for job in found["jobs"])]]
    rows.append(["took", *(duration(job["seconds"]) for job in found["jobs"])])
    rows += [[one["pointer"], *one["values"]] for one in found["differences"]]
    rows += [[name, *values] for name, values in found["results"].items()]
    rows.append(["parameters", *(_of(job["counts"], "parameters") for job in found["jobs"])])
    for name, title in (("add", "additions"), ("mul", "multiplications"), ("xnor", "XNORs")):
        rows.append([title, *(_of(_of(job["counts"], "operations"), name) for job in found["jobs"])])
    table(["", *(f"…{job['id'][-8:]}" for job in found["jobs"])], rows)
    if not found["differences"]:
        note("Their specs are the same.")


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _counts(sweep: Sweep) -> str:
    """``12/20 done, 2 running, 1 failed``."""
    counts = sweep.progress
    parts = [f"{counts.get(name)} {name}" for name in ("running", "waiting", "pruned", "failed") if counts.get(name)]
    return ", ".join([f"{counts.get('done', 0)}/{counts.get('total', 0)} done", *parts])


def _best(sweep: Sweep) -> str:
    if sweep.best is None:
        return "-"
    return f"{sweep.best.value:.4g} ({text(sweep.best.parameters)})"


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
    """Follows a sweep on stderr, puts its outcome on stdout, and exits accordingly."""
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
    screen = Console(file=sys.stderr, highlight=False)
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
