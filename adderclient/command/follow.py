"""``adder watch``, ``metrics``, ``events`` and ``logs``."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from adderclient.client import Client
from adderclient.command import ids, watching
from adderclient.command.app import AsJson, JobId, Url, connect
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, OK, WAITS, UsageError
from adderclient.command.formats import named
from adderclient.command.output import fields, note, print_json, print_list, table
from adderclient.command.recipes import show_findings
from adderclient.command.terminal import plain, say

__all__ = ["register", "watch_to_end"]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (watch, metrics, events, logs):
        app.command()(command)


def watch(
    job: JobId,
    interval: Annotated[float, typer.Option(help="Seconds between two requests.", min=0.1)] = 0.5,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's progress until it has ended; exit code 1 if it did not succeed, 5 if it is paused."""
    with connect(url) as client:
        watch_to_end(client, ids.job_id(client, job), as_json, interval)


def watch_to_end(client: Client, job_id: str, as_json: bool, interval: float = 0.5) -> None:
    """Follows a job on stderr, prints its outcome on stdout, and exits with the exit code of that outcome."""
    try:
        job = watching.follow(client, job_id, interval=interval).job
    except KeyboardInterrupt:
        note(f"No longer watching; {job_id} goes on. Watch again: adder watch {job_id}  Stop it: adder cancel {job_id}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(job.raw)
    if not job.finished:
        note(watching.why_it_waits(client, job))
        raise typer.Exit(WAITS)
    if job.status == "succeeded" and not as_json:
        if job.kind == "analyze":
            show_findings(client, job.id)
        else:
            fields([("job", job.id), ("status", job.status), ("result", job.result), ("model", job.model_id)])
        note(f"Fetch what it made with: adder download {job.id}")
    if job.error and not as_json:
        note(f"{job.id} failed: {job.error.message} ({job.error.code})")
        if job.error.log_tail:
            note(f"The end of its log:\n{job.error.log_tail}")
        if any(artifact.name == "curves.png" for artifact in client.jobs.artifacts(job.id)):
            note(f"Its curves up to there are kept; fetch them with: adder download {job.id}")
    raise typer.Exit(OK if job.status == "succeeded" else JOB_FAILED)


def metrics(
    job: JobId,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only this metric; repeatable.")] = None,
    after_seq: Annotated[int, typer.Option(help="Only points after this seq.", min=0)] = 0,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="At most so many.", min=1)] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's metrics."""
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    with connect(url) as client:
        points = client.jobs.metrics(ids.job_id(client, job), name or (), after_seq, limit)
    rows = [(point.seq, point.name, point.step, point.epoch, point.value, point.time) for point in points]
    columns = ("seq", "name", "step", "epoch", "value", "time")
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[0], plain(row[1]), *row[2:-1], row[-1].isoformat() if row[-1] else ""] for row in rows)
    elif as_json:
        print_list(
            dict(zip(columns, [*row[:-1], row[-1].isoformat() if row[-1] else None], strict=True)) for row in rows
        )
    else:
        shown = ((*row[:4], named(row[1], row[4]), row[5]) for row in rows)
        table([column.upper() for column in columns], shown)


def events(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a job's state changes and notable moments."""
    with connect(url) as client:
        found = client.jobs.events(ids.job_id(client, job))
    if as_json:
        print_list(event.raw for event in found)
    else:
        table(["SEQ>", "TIME", "TYPE", "MESSAGE"], ((item.seq, item.time, item.type, item.message) for item in found))


def logs(
    job: JobId,
    tail: Annotated[int | None, typer.Option(help="Only the last lines.", min=0)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    url: Url = None,
) -> None:
    """Print a job's log."""
    with connect(url) as client:
        for line in client.jobs.logs(ids.job_id(client, job), tail, follow):
            say(line, flush=follow)
