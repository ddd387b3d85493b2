"""``adder submit``, ``jobs``, ``show``, ``download``, and what is done to jobs: ``cancel``, ``retry``, ``continue``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import ids, keeping, specs
from adderclient.command.app import (
    After,
    AsJson,
    IdempotencyKey,
    JobId,
    Limit,
    Overrides,
    Url,
    ValidateOnly,
    Watch,
    connect,
)
from adderclient.command.errors import UsageError
from adderclient.command.follow import watch_to_end
from adderclient.command.formats import ago, duration, energy, number, percent, shape, size
from adderclient.command.output import (
    Bar,
    collect,
    fields,
    note,
    note_more,
    print_json,
    print_list,
    status,
    table,
    transfer_bars,
)
from adderclient.command.recipes import DatasetOption, outcome
from adderclient.command.submitting import refuse_with_validate_only, submitted
from adderclient.command.terminal import console, say
from adderclient.errors import NotFoundError
from adderclient.models import FILES
from adderclient.records import Job, Status, Validation


class From(StrEnum):
    """Where a retry begins."""

    start = "start"
    checkpoint = "checkpoint"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (submit, jobs, show, cancel, pause, resume, retry, delete, download):
        app.command()(command)
    app.command("continue")(continue_training)


def submit(
    spec: Annotated[str | None, typer.Argument(metavar="SPEC", help="A .yaml or .json file, or - for stdin.")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="In place of SPEC: a table or figure that `adder recipes` lists.")
    ] = None,
    dataset: DatasetOption = None,
    overrides: Overrides = None,
    watch: Watch = False,
    validate_only: ValidateOnly = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job. Its id goes to stdout: JOB=$(adder submit spec.yaml)."""
    if validate_only:
        refuse_with_validate_only(watch, idempotency_key)
    document = _document(spec, recipe, dataset, overrides or [])
    with connect(url) as client:
        if validate_only:
            _show_validation(client.jobs.validate(document), as_json)
            return
        job = client.jobs.submit(document, idempotency_key)
        follow = (lambda: watch_to_end(client, job.id, as_json)) if watch else None
        submitted(job, as_json, follow, f"{job.status}; follow it with: adder watch {job.id}")


def _document(spec: str | None, recipe: str | None, dataset: str | None, overrides: list[str]) -> dict[str, Any]:
    """The spec of the file or of the recipe, with the options applied."""
    if (spec is None) == (recipe is None):
        raise UsageError("name either a SPEC file or --recipe NAME (`adder recipes` lists them)")
    document = specs.of_recipe(recipe, overrides) if recipe is not None else specs.load(str(spec), overrides)
    if dataset is not None:
        document["dataset"] = {"name": dataset}
    return document


def jobs(
    status_: Annotated[Status | None, typer.Option("--status", "-s", help="Only these.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="train, evaluate, …")] = None,
    label: keeping.Labels = None,
    search: keeping.Search = None,
    starred: keeping.Starred = None,
    dataset: keeping.OfDataset = None,
    sweep: keeping.OfSweep = None,
    sort: keeping.Sort = None,
    order: keeping.InOrder = None,
    limit: Limit = 20,
    after: After = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first or as --sort says."""
    filters = keeping.filters(label, search, starred, dataset, sweep, sort, order)
    with connect(url) as client:
        if sweep is not None:
            filters["sweep"] = ids.sweep_id(client, sweep)
        found, cursor = collect(
            lambda size, at: client.jobs.list(status=status_, kind=kind, limit=size, after=at, **filters), limit, after
        )
    if as_json:
        print_list((job.raw for job in found), cursor is not None, cursor)
        return
    metric = keeping.metric_of(sort)
    columns = ["JOB", "STATUS", "KIND", "SUBJECT", "PROGRESS", "CREATED"]
    table([*columns, f"{metric.upper()}>"] if metric else columns, (_row(job, metric) for job in found))
    note_more(limit, cursor)


def _row(job: Job, metric: str | None) -> list[Any]:
    subject = keeping.titled(job, _subject(job))
    row = [job.id, status(job.status), job.kind, subject, _done(job), ago(job.created_at)]
    return [*row, keeping.value_of(job.result, metric)] if metric else row


def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A job's id, or a model's; its end, or @last.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show everything about a job or a model."""
    with connect(url) as client:
        name = ids.job_or_model_id(client, name)
        if not ids.is_job(name):
            model = client.models.get(name).raw
            if as_json:
                print_json(model)
            else:
                fields((key, value) for key, value in model.items() if key != "manifest")
            return
        job = client.jobs.get(name)
        if as_json:
            print_json(job.raw)
            return
        _show_job(client, job)
        _show_attempts(client, job)
        if job.finished:
            _show_artifacts(client, job)


def cancel(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a job for good; it saves a checkpoint first."""
    with connect(url) as client:
        _acted(client.jobs.cancel(ids.job_id(client, job)), as_json)


def pause(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Save a checkpoint and hold a running job."""
    with connect(url) as client:
        _acted(client.jobs.pause(ids.job_id(client, job)), as_json)


def resume(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Go on with a paused job."""
    with connect(url) as client:
        _acted(client.jobs.resume(ids.job_id(client, job)), as_json)


def retry(
    job: JobId,
    from_: Annotated[From, typer.Option("--from", help="Where to begin.")] = From.start,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a new job like a finished one; its id goes to stdout."""
    with connect(url) as client:
        job = ids.job_id(client, job)
        new = client.jobs.retry(job, "checkpoint" if from_ is From.checkpoint else "start")
    if as_json:
        print_json(new.raw)
    else:
        say(new.id)
        note(f"{new.status}, a retry of {job}")


def continue_training(
    job: JobId,
    epochs: Annotated[int, typer.Option(min=1, help="Number of further epochs.")],
    lr: Annotated[
        float | None, typer.Option(help="Learning rate at their beginning.", show_default="that of JOB")
    ] = None,
    watch: Watch = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a finished training on, from its last checkpoint; the new job's id goes to stdout."""
    with connect(url) as client:
        job = ids.job_id(client, job)
        new = client.jobs.continue_training(job, epochs, lr, idempotency_key)
        follow = (lambda: watch_to_end(client, new.id, as_json)) if watch else None
        submitted(new, as_json, follow, f"{new.status}, goes on from {job}; follow it with: adder watch {new.id}")


def delete(job: JobId, url: Url = None) -> None:
    """Delete a finished job with all that it stored."""
    with connect(url) as client:
        job = ids.job_id(client, job)
        client.jobs.delete(job)
    note(f"{job} deleted")


def download(
    name: Annotated[str, typer.Argument(metavar="ID", help="A job's id, or a model's; its end, or @last.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder.", show_default="./ID")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--name", help="Only this artifact; repeatable.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a job's artifacts: resumes what was interrupted, verifies checksums, skips what is there."""
    with connect(url) as client, transfer_bars() as bars:
        name = ids.job_or_model_id(client, name)
        folder = output or Path(name)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; --output names a folder")
        fetch = _fetch_of_job if ids.is_job(name) else _fetch_of_model
        paths = fetch(client, name, only, f"{folder}/", Bar(bars))
    if as_json:
        print_json({"data": [{"path": str(path), "bytes": path.stat().st_size} for path in paths]})
    else:
        for path in paths:
            say(path)
        if not paths:
            note(f"{name} has no artifacts yet")


def _fetch_of_job(client: Client, name: str, only: list[str] | None, folder: str, bar: Bar) -> list[Path]:
    listed = [artifact.name for artifact in client.jobs.artifacts(name)]
    return [client.jobs.download(name, one, folder, progress=bar) for one in _wanted(name, only, listed)]


def _fetch_of_model(client: Client, name: str, only: list[str] | None, folder: str, bar: Bar) -> list[Path]:
    formats = {file: format for format, file in FILES.items()}
    wanted = _wanted(name, only, formats)
    return [client.models.download(name, folder, format=formats[one], progress=bar) for one in wanted]


def _wanted(owner: str, only: list[str] | None, there: Collection[str]) -> Iterable[str]:
    """The files to fetch; all of them are known to be there before the first one is fetched."""
    for name in only or ():
        if name not in there:
            raise NotFoundError.named(owner, "artifact", name, there)
    return only or there


def _acted(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(job.raw)
    else:
        say(f"{job.id} {job.status}")


def _subject(job: Job) -> str:
    model, dataset = job.spec.get("model") or {}, job.spec.get("dataset") or {}
    if isinstance(model, dict) and model.get("arch"):
        named = f"{model['arch']} {model.get('method', '')}".strip()
    else:
        named = str(job.spec.get("recipe") or job.spec.get("model_id") or "")
    return f"{named} on {dataset['name']}" if named and isinstance(dataset, dict) and dataset.get("name") else named


def _done(job: Job) -> str:
    progress = job.progress
    if job.status == "queued":
        return _place(job)
    if job.status == "failed" and job.error:
        return job.error.code
    if progress.fraction is None:
        return (progress.phase or "").replace("_", " ")
    left = f", {duration(progress.eta_seconds)} left" if job.status == "running" and progress.eta_seconds else ""
    return f"{percent(progress.fraction, 0)}{left}"


def _place(job: Job) -> str:
    """Where a queued job stands."""
    if job.waiting_for is not None:
        return job.waiting_for
    if job.queue_position is None:
        return "queued"
    at = job.estimated_start_at
    starts = "" if at is None else f", starts in {duration(max(0.0, (at - datetime.now(UTC)).total_seconds()))}"
    return f"{job.queue_position} in queue{starts}"


def _show_job(client: Client, job: Job) -> None:
    progress = job.progress
    at = f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}" if progress.epochs else None
    seconds = client.jobs.run_seconds(job) if job.finished else job.run_seconds
    pairs = [
        ("job", job.id),
        ("status", status(job.status)),
        ("kind", job.kind),
        ("subject", _subject(job)),
        ("name", job.name),
        ("starred", True if job.starred else None),
        ("labels", job.labels),
        ("notes", job.notes),
        ("created", job.created_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
        ("ran for", duration(seconds) if seconds is not None else None),
        ("attempt", job.attempt),
        ("queue position", job.queue_position),
        ("expected to start", job.estimated_start_at),
        ("waits because", job.waiting_for),
        ("phase", progress.phase),
        ("progress", at),
        ("result", outcome(job)),
        ("model", job.model_id),
        ("retry of", job.retry_of),
        ("continued from", job.continued_from),
        ("environment", {key: value for key, value in job.environment.items() if value is not None}),
    ]
    if job.error:
        pairs += [("error", f"{job.error.message} ({job.error.code})"), ("log", job.error.log_tail)]
    fields(pairs)


def _show_attempts(client: Client, job: Job) -> None:
    """Shows the attempts, unless the only one runs or succeeded."""
    attempts = client.jobs.attempts(job.id) if job.attempt else []
    if len(attempts) > 1 or any(one.cause not in (None, "succeeded") for one in attempts):
        console().print()
        rows = ([one.attempt, one.started_at, one.cause or "runs", one.worker, one.device] for one in attempts)
        table(["ATTEMPT>", "STARTED", "ENDED BY", "WORKER", "DEVICE"], rows)


def _show_artifacts(client: Client, job: Job) -> None:
    artifacts = client.jobs.artifacts(job.id)
    if artifacts:
        console().print()
        table(["ARTIFACT", "SIZE>", "SHA256"], ((item.name, size(item.bytes), item.sha256[:16]) for item in artifacts))
        note(f"Fetch them with: adder download {job.id}")


def _show_validation(validation: Validation, as_json: bool) -> None:
    if as_json:
        print_json(validation.raw)
        return
    model = validation.model
    operations = model.get("operations") or {}
    fields(
        [
            ("valid", True),
            ("parameters", number(model.get("parameters"))),
            ("additions", number(operations.get("add"))),
            ("multiplications", number(operations.get("mul"))),
            ("XNOR operations", number(operations.get("xnor")) if operations.get("xnor") else None),
            ("energy an image", f"{energy(model.get('energy_joules'))} µJ"),
            ("parameters take", size(model.get("parameter_bytes"))),
            ("activations take", size(model.get("activation_bytes"))),
            ("latency model", f"{number(model.get('latency_cycles'))} cycles"),
        ]
    )
    layers = model.get("layers") or []
    if layers:
        console().print()
        table(["LAYER", "KIND", "OUTPUT", "PARAMETERS>", "ADD>", "MUL>", "XNOR>"], map(_layer, layers))


def _layer(layer: Mapping[str, Any]) -> list[Any]:
    operations = layer.get("operations") or {}
    counts = (layer.get("parameters"), *(operations.get(name) for name in ("add", "mul", "xnor")))
    return [layer.get("name"), layer.get("kind"), shape(layer.get("output_shape") or []), *map(number, counts)]
