"""``adder watch``, ``metrics``, ``events`` and ``logs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from adderclient.client import Client
from adderclient.command import copied, ids, latencies, watching
from adderclient.command.app import AsJson, JobId, Objects, Url, connect
from adderclient.command.columns import Column
from adderclient.command.errors import INTERRUPTED, JOB_FAILED, OK, WAITS
from adderclient.command.job_columns import progress
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import fields, note, print_json, print_list, status, table
from adderclient.command.recipes import outcome, show_findings
from adderclient.command.several import Failures
from adderclient.command.showing import fetched, show_objects
from adderclient.command.sweep_text import best_of, counts_of, show_fields
from adderclient.command.sweep_watching import SweepView, sweep_views
from adderclient.command.sweep_watching import why_it_waits as why_sweep_waits
from adderclient.command.terminal import say
from adderclient.formats import named, text
from adderclient.records import Event, Job, MetricPoint

__all__ = ["register", "watch_to_end"]

Interval = Annotated[float, typer.Option(help="Seconds between two requests.", min=0.1)]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (watch, metrics, events, logs):
        app.command()(command)


def watch(
    names: Objects,
    interval: Interval = 0.5,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the progress of jobs, sweeps or datasets until each has ended, or waits for somebody.

    Exit code 1 if one did not succeed; else 5 if one is paused, or no worker can run it.
    """
    watch_objects(names, None, url, as_json, interval)


def watch_objects(names: Sequence[str], only: str | None, url: str | None, as_json: bool, interval: float) -> None:
    """What `watch` does; ``only`` is the kind of all of them, or None."""
    failures = Failures()
    with connect(url) as client:
        one = len(names) == 1
        meant = failures.of(names, lambda name: _followed(client, *ids.of_kind(client, name, only), sure=one))
        if one:
            ((kind, id_),) = meant
            if kind == "job":
                watch_to_end(client, id_, as_json, interval)
            elif kind == "sweep":
                watch_sweep_to_end(client, id_, as_json, interval)
            else:
                show_objects([id_], kind, url, as_json)
                _end_with_dataset(client, kind, id_)
            return
        code = _watch_several(client, meant, as_json, interval)
    failures.end()
    raise typer.Exit(code)


def _followed(client: Client, kind: str, id_: str, *, sure: bool) -> tuple[str, str]:
    """What is followed for an object: for a dataset that is being validated the job that does it.

    Unless one is ``sure`` that it is there, it is asked for: one that is not shall not end the watching of others.
    """
    if kind == "dataset":
        dataset = client.datasets.get(id_)
        if dataset.status == "validating" and dataset.job_id:
            return "job", dataset.job_id
    elif not sure:
        fetched(client, kind, id_)
    return kind, id_


def _end_with_dataset(client: Client, kind: str, id_: str) -> None:
    """A dataset whose validation failed is a failure; a model is there and has nothing to wait for."""
    if kind == "dataset" and client.datasets.get(id_).status == "failed":
        raise typer.Exit(JOB_FAILED)


def _watch_several(client: Client, meant: Sequence[tuple[str, str]], as_json: bool, interval: float) -> int:
    """Follows all of them at once, prints what became of each, and returns the exit code."""
    watched: dict[str, Iterator[watching.Watched]] = {
        id_: watching.views(client, id_, 0.0) if kind == "job" else sweep_views(client, id_)
        for kind, id_ in meant
        if kind in ("job", "sweep")
    }
    try:
        last = watching.follow_all(watched, interval) if watched else {}
    except KeyboardInterrupt:
        note(f"No longer watching; they go on. Watch again: {copied.adder('watch', *watched)}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_list(view.seen.raw for view in last.values())
    else:
        rows = [(id_, status(view.seen.status), _outcome_of(view)) for id_, view in last.items()]
        table(["ID", "STATUS", "OUTCOME"], rows)
    codes = {_code_of(client, view) for view in last.values()}
    return next((code for code in (JOB_FAILED, WAITS) if code in codes), OK)


def _outcome_of(view: watching.Watched) -> str:
    if isinstance(view, SweepView):
        return f"{counts_of(view.sweep)}, best {best_of(view.sweep)}"
    job = view.seen
    if not isinstance(job, Job):
        raise AssertionError("what is no sweep is a job")
    if job.error:
        return f"{job.error.message} ({job.error.code})"
    return text(outcome(job)) if job.result else progress(job)


def _code_of(client: Client, view: watching.Watched) -> int:
    """The exit code of one that was watched; says why it waits."""
    if isinstance(view, SweepView) and view.rests:
        note(why_sweep_waits(view))
    elif isinstance(view, watching.View) and view.rests:
        note(watching.why_it_waits(client, view.job))
    if view.rests:
        return WAITS
    return OK if view.seen.status == "succeeded" else JOB_FAILED


def watch_sweep_to_end(client: Client, sweep_id: str, as_json: bool, interval: float = 0.5) -> None:
    """Follows a sweep on stderr, prints its outcome on stdout, and exits with the exit code of that outcome."""
    try:
        last = watching.follow_all({sweep_id: sweep_views(client, sweep_id)}, interval)[sweep_id]
    except KeyboardInterrupt:
        stop = copied.adder("sweep cancel", sweep_id)
        note(f"No longer watching; {sweep_id} goes on. Stop it with: {stop}")
        raise typer.Exit(INTERRUPTED) from None
    if not isinstance(last, SweepView):
        raise AssertionError("views of a sweep are views of a sweep")
    if as_json:
        print_json(last.sweep.raw)
    else:
        show_fields(last.sweep)
        note(f"All of it: {copied.adder('sweep table', sweep_id)}")
    raise typer.Exit(_code_of(client, last))


def watch_to_end(client: Client, job_id: str, as_json: bool, interval: float = 0.5) -> None:
    """Follows a job on stderr, prints its outcome on stdout, and exits with the exit code of that outcome."""
    try:
        view = watching.follow(client, job_id, interval=interval)
    except KeyboardInterrupt:
        again, stop = copied.adder("watch", job_id), copied.adder("cancel", job_id)
        note(f"No longer watching; {job_id} goes on. Watch again: {again}  Stop it: {stop}")
        raise typer.Exit(INTERRUPTED) from None
    job = view.job
    if as_json:
        print_json(job.raw)
    if not job.finished:
        raise typer.Exit(_code_of(client, view))
    fetch = copied.adder("download", job_id)
    if job.status == "succeeded" and not as_json:
        if job.kind == "analyze":
            show_findings(client, job.id)
        else:
            fields([("job", job.id), ("status", status(job.status)), ("result", outcome(job)), ("model", job.model_id)])
            if job.kind == "benchmark":
                latencies.print_rows(job.result)
        note(f"Fetch what it made with: {fetch}")
    if job.error and not as_json:
        note(f"{job.id} failed: {job.error.message} ({job.error.code})")
        if job.error.log_tail:
            note(f"The end of its log:\n{job.error.log_tail}")
        if any(artifact.name == "curves.png" for artifact in client.jobs.artifacts(job.id)):
            note(f"Its curves up to there are kept; fetch them with: {fetch}")
    raise typer.Exit(_code_of(client, view))


@listing(paged=False)
def metrics(
    client: Client,
    request: Request,
    job: JobId,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only this metric; repeatable.")] = None,
    after_seq: Annotated[int, typer.Option(help="Only points after this seq.", min=0)] = 0,
) -> Listed[MetricPoint]:
    """Show a job's metrics. What it used: --name system/cpu (or /memory_bytes, /gpu, /gpu_memory_bytes)."""
    all_of_them = request.limit is None or request.sort is not None
    points = client.jobs.metrics(ids.job_id(client, job), name or (), after_seq, None if all_of_them else request.limit)
    return Listed(points, POINTS)


@listing(paged=False)
def events(client: Client, request: Request, job: JobId) -> Listed[Event]:
    """Show a job's state changes and notable moments."""
    return Listed(client.jobs.events(ids.job_id(client, job)), EVENTS)


POINTS: tuple[Column[MetricPoint], ...] = (
    Column("seq", lambda one: one.seq, rank=5, right=True),
    Column("name", lambda one: one.name, rank=0),
    Column("step", lambda one: one.step, rank=2, right=True),
    Column("epoch", lambda one: one.epoch, rank=3, right=True),
    Column("value", lambda one: one.value, lambda one: named(one.name, one.value), rank=1, right=True),
    Column("time", lambda one: one.time, rank=4),
)
EVENTS: tuple[Column[Event], ...] = (
    Column("seq", lambda one: one.seq, rank=3, right=True),
    Column("time", lambda one: one.time, rank=1),
    Column("type", lambda one: one.type, rank=2),
    Column("message", lambda one: one.message, cut=True),
)


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
