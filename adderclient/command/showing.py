"""``adder show``: everything about jobs, models, sweeps and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from adderclient.client import Client
from adderclient.command import copied, ids, latencies
from adderclient.command.app import AsJson, Objects, Url, connect
from adderclient.command.cards import print_card
from adderclient.command.errors import UsageError
from adderclient.command.job_columns import subject_of
from adderclient.command.keeping import accuracy_of
from adderclient.command.output import fields, note, print_json, print_list, status, table
from adderclient.command.recipes import COUNTS, outcome
from adderclient.command.several import Failures
from adderclient.command.sweep_text import show_sweep
from adderclient.command.terminal import console
from adderclient.command.web import OnTheWeb, open_page
from adderclient.errors import ApiError
from adderclient.formats import duration, energy, number, percent, shape, size
from adderclient.records import Dataset, Job, Model, Sweep

MOST_CLASSES = 20
"""Names of classes that are printed."""
PAGES = {"job": "/jobs/{}", "model": "/models/{}", "sweep": "/sweeps/{}", "dataset": "/datasets"}
"""Where the dashboard shows an object of each kind."""
COUNTED = ("train", "evaluate", "quantize", "benchmark")
"""Kinds of jobs that are about one network."""
Shown = Job | Model | Sweep | Dataset


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(show)


def show(names: Objects, url: Url = None, as_json: AsJson = False, web: OnTheWeb = False) -> None:
    """Show everything about jobs, models, sweeps or datasets."""
    show_objects(names, None, url, as_json, web)


def show_objects(names: Sequence[str], only: str | None, url: str | None, as_json: bool, web: bool = False) -> None:
    """What `show` does; ``only`` is the kind of all of them, or None."""
    if as_json and web:
        raise UsageError("--json and --web exclude each other")
    failures = Failures()
    with connect(url) as client:
        found = failures.of(names, lambda name: fetched(client, *ids.of_kind(client, name, only)))
        if web:
            for one in found:
                open_page(url, PAGES[kind_of(one)].format(getattr(one, "id", "")))
        elif as_json:
            print_objects([one.raw for one in found], len(names) > 1)
        else:
            for at, one in enumerate(found):
                if at:
                    console().print()
                _print(client, one)
    failures.end()


def fetched(client: Client, kind: str, id_: str) -> Shown:
    """The object of a kind with an id, or a dataset by its name."""
    match kind:
        case "job":
            return client.jobs.get(id_)
        case "model":
            return client.models.get(id_)
        case "sweep":
            return client.sweeps.get(id_)
        case _:
            return client.datasets.get(id_)


def kind_of(found: Shown) -> str:
    """``job``, ``model``, ``sweep`` or ``dataset``."""
    return type(found).__name__.lower()


def print_objects(objects: Sequence[Any], several: bool) -> None:
    """One object as JSON, or a listing of them where several were named."""
    if several:
        print_list(objects)
    elif objects:
        print_json(objects[0])


def title_of(dataset: Dataset) -> str:
    """``leaves@2``, or the name of a published dataset."""
    return dataset.name if dataset.version is None else f"{dataset.name}@{dataset.version}"


def _print(client: Client, found: Shown) -> None:
    match found:
        case Job():
            _print_job(client, found)
        case Model():
            _print_model(found)
        case Sweep():
            show_sweep(client, found)
        case Dataset():
            _print_dataset(found)


def _print_job(client: Client, job: Job) -> None:
    progress = job.progress
    at = f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}" if progress.epochs else None
    seconds = client.jobs.run_seconds(job) if job.finished else job.run_seconds
    pairs = [
        ("job", job.id),
        ("status", status(job.status)),
        ("kind", job.kind),
        ("subject", subject_of(job)),
        *_kept(job),
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
        *costs_of(_counts(client, job)),
        ("model", job.model_id),
        ("retry of", job.retry_of),
        ("continued from", job.continued_from),
        ("environment", {key: value for key, value in job.environment.items() if value is not None}),
    ]
    if job.error:
        pairs += [("error", f"{job.error.message} ({job.error.code})"), ("log", job.error.log_tail)]
    fields(pairs)
    if job.kind == "benchmark" and job.result:
        console().print()
        latencies.print_rows(job.result)
    _print_attempts(client, job)
    if job.finished:
        _print_artifacts(client, job)


def _kept(found: Job | Model) -> list[tuple[str, Any]]:
    """What users keep with it."""
    return [
        ("name", found.name),
        ("starred", True if found.starred else None),
        ("labels", found.labels),
        ("notes", found.notes),
    ]


def _counts(client: Client, job: Job) -> Any:
    """What the network of a job costs; empty where the server cannot say it, as of a model that is gone."""
    if job.result.get(COUNTS):
        return job.result[COUNTS]
    if job.kind not in COUNTED:
        return {}
    try:
        return client.jobs.validate(job.spec).model
    except ApiError:
        return {}


def costs_of(counts: Any) -> list[tuple[str, Any]]:
    """What a network costs for one image, as `fields` takes it."""
    operations = counts.get("operations") or {}
    if not operations:
        return []
    pairs: list[tuple[str, Any]] = [
        ("parameters", number(counts.get("parameters"))),
        ("additions", f"{number(operations.get('add'))} an image"),
        ("multiplications", f"{number(operations.get('mul'))} an image"),
    ]
    if operations.get("xnor"):
        pairs.append(("XNOR operations", f"{number(operations['xnor'])} an image"))
    return [*pairs, ("energy", f"{energy(counts.get('energy_joules'))} µJ an image, its arithmetic at 45 nm")]


def _print_attempts(client: Client, job: Job) -> None:
    """Shows the attempts, unless the only one runs or succeeded."""
    attempts = client.jobs.attempts(job.id) if job.attempt else []
    if len(attempts) > 1 or any(one.cause not in (None, "succeeded") for one in attempts):
        console().print()
        rows = [[one.attempt, one.started_at, one.cause or "runs", one.worker, one.device] for one in attempts]
        table(["ATTEMPT>", "STARTED", "ENDED BY", "WORKER", "DEVICE"], rows)


def _print_artifacts(client: Client, job: Job) -> None:
    artifacts = client.jobs.artifacts(job.id)
    if artifacts:
        console().print()
        table(["ARTIFACT", "SIZE>", "SHA256"], [(item.name, size(item.bytes), item.sha256[:16]) for item in artifacts])
        note(f"Fetch them with: {copied.adder('download', job.id)}")


def _print_model(model: Model) -> None:
    own = ("id", "arch", "method", "dataset", "source", "job_id", "created_at", "sha256", "bytes", "parameters")
    known = {*own, "metrics", "name", "notes", "labels", "starred", "aliases", "manifest"}
    known |= {"costs", "twin_costs", "latency"}
    accuracy = accuracy_of(model.metrics)
    fields(
        [
            ("model", model.id),
            ("network", f"{model.arch} {model.method}".strip()),
            ("dataset", model.dataset),
            *_kept(model),
            ("aliases", model.aliases),
            ("accuracy", None if accuracy is None else percent(accuracy)),
            ("metrics", model.metrics),
            ("parameters", number(model.parameters)),
            ("source", model.source),
            ("made by", model.job_id),
            ("created", model.created_at),
            ("size", size(model.bytes)),
            ("sha256", model.sha256),
            *((key, value) for key, value in model.raw.items() if key not in known),
        ]
    )
    print_card(model)


def _print_dataset(dataset: Dataset) -> None:
    more = f" and {len(dataset.classes) - MOST_CLASSES:,} more" if len(dataset.classes) > MOST_CLASSES else ""
    fields(
        [
            ("dataset", title_of(dataset)),
            ("id", dataset.id),
            ("status", status(dataset.status)),
            ("same as", dataset.same_as),
            ("description", dataset.description),
            ("input", shape(dataset.input_shape)),
            ("training", dataset.train_size and number(dataset.train_size)),
            ("validation", dataset.validation_size and number(dataset.validation_size)),
            ("classes", ", ".join(dataset.classes[:MOST_CLASSES]) + more),
            ("size", dataset.bytes and size(dataset.bytes)),
            ("validated by", dataset.job_id),
            ("contact sheet", copied.adder("datasets preview", title_of(dataset)) if dataset.preview else None),
        ]
    )
    for sentence in (*dataset.problems, *dataset.notes):
        console().print(sentence, markup=False)
    if dataset.status == "missing":
        note(dataset.how_to_get)
