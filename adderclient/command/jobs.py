"""``adder submit``, ``jobs``, ``download``, and what is done to jobs: ``cancel``, ``retry``, ``continue``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from adderclient.client import Client
from adderclient.command import completion, ids, keeping, specs
from adderclient.command.app import (
    AsJson,
    IdempotencyKey,
    JobId,
    JobIds,
    Overrides,
    Url,
    ValidateOnly,
    Watch,
    connect,
)
from adderclient.command.errors import UsageError
from adderclient.command.following import follow_job, submit_job
from adderclient.command.groups import group
from adderclient.command.job_columns import COLUMNS
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.objects import of_kind
from adderclient.command.output import Bar, fields, note, print_json, table, transfer_bars
from adderclient.command.recipes import DatasetOption
from adderclient.command.several import each
from adderclient.command.showing import costs_of, print_objects
from adderclient.command.submitting import refuse_with_validate_only
from adderclient.command.terminal import console, say
from adderclient.errors import NotFoundError
from adderclient.formats import number, shape, size
from adderclient.models import FILES
from adderclient.records import Job, Status, Validation


class From(StrEnum):
    """Where a retry begins."""

    start = "start"
    checkpoint = "checkpoint"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (submit, cancel, pause, resume, retry, download):
        app.command()(command)
    app.command("continue")(continue_training)
    verbs: dict[str, Callable[..., None]] = {**of_kind("job"), "cancel": cancel, "pause": pause, "resume": resume}
    verbs |= {"retry": retry, "download": download}
    app.add_typer(group("jobs", "List jobs; show them and act on them.", list_jobs, verbs))


def submit(
    spec: Annotated[str | None, typer.Argument(metavar="SPEC", help="A .yaml or .json file, or - for stdin.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="In place of SPEC: a table or figure that `adder recipes` lists.",
            autocompletion=completion.recipes,
        ),
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
        submit_job(client, document, idempotency_key, watch, as_json)


def _document(spec: str | None, recipe: str | None, dataset: str | None, overrides: list[str]) -> dict[str, Any]:
    """The spec of the file or of the recipe, with the options applied."""
    if (spec is None) == (recipe is None):
        raise UsageError("name either a SPEC file or --recipe NAME (`adder recipes` lists them)")
    document = specs.of_recipe(recipe, overrides) if recipe is not None else specs.load(str(spec), overrides)
    if dataset is not None:
        document["dataset"] = {"name": dataset}
    return document


@listing(limit=20, page="/", sort=keeping.Sort, order=keeping.Direction)
def list_jobs(
    client: Client,
    request: Request,
    status_: Annotated[Status | None, typer.Option("--status", "-s", help="Only these.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="train, evaluate, …")] = None,
    label: keeping.Labels = None,
    search: keeping.Search = None,
    starred: keeping.Starred = None,
    dataset: keeping.OfDataset = None,
    sweep: keeping.OfSweep = None,
) -> Listed[Job]:
    """List jobs, newest first or as --sort says."""
    filters = keeping.filters(client, request, label, search, starred, dataset, sweep)
    found = request.read(lambda size, at: client.jobs.list(status=status_, kind=kind, limit=size, after=at, **filters))
    sorted_by = keeping.metric_column(request.sort, _result)
    return Listed(found, [*COLUMNS, *sorted_by], column_named=partial(keeping.found_column, numbers=_result))


def _result(job: Job) -> Mapping[str, Any]:
    return job.result


def cancel(jobs: JobIds, url: Url = None, as_json: AsJson = False) -> None:
    """Stop jobs for good; they save a checkpoint first."""
    with connect(url) as client:
        _act(client, jobs, client.jobs.cancel, as_json)


def pause(jobs: JobIds, url: Url = None, as_json: AsJson = False) -> None:
    """Save a checkpoint and hold running jobs."""
    with connect(url) as client:
        _act(client, jobs, client.jobs.pause, as_json)


def resume(jobs: JobIds, url: Url = None, as_json: AsJson = False) -> None:
    """Go on with paused jobs."""
    with connect(url) as client:
        _act(client, jobs, client.jobs.resume, as_json)


def retry(
    jobs: JobIds,
    from_: Annotated[From, typer.Option("--from", help="Where to begin.")] = From.start,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make new jobs like finished ones; their ids go to stdout."""
    with connect(url) as client:
        begin: Literal["start", "checkpoint"] = "checkpoint" if from_ is From.checkpoint else "start"
        made, failures = each(client, jobs, ids.job_id, lambda job: client.jobs.retry(job, begin))
    if as_json:
        print_objects([job.raw for job in made], len(jobs) > 1)
    for job in [] if as_json else made:
        say(job.id)
        note(f"{job.status}, a retry of {job.retry_of}")
    failures.end()


def _act(client: Client, jobs: list[str], act: Callable[[str], Job], as_json: bool) -> None:
    """Does something with each job, and prints how it stands now."""

    def acted(job_id: str) -> Job:
        job = act(job_id)
        if not as_json:
            say(f"{job.id} {job.status}")
        return job

    done, failures = each(client, jobs, ids.job_id, acted)
    if as_json:
        print_objects([job.raw for job in done], len(jobs) > 1)
    failures.end()


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
        follow_job(client, new, watch, as_json, f", goes on from {job}")


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ID…",
            help="Ids of jobs or models, their ends, or @last.",
            autocompletion=completion.objects("job", "model"),
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder; of several, each has one in it.", show_default="./ID"
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--name", help="Only this artifact; repeatable.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the artifacts of jobs or models: resumes what was interrupted, verifies checksums, skips what is there."""
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; --output names a folder")
    fetched: list[Path] = []
    with connect(url) as client, transfer_bars() as bars:

        def fetch(name: str) -> None:
            folder = Path(name) if output is None else output / name if len(names) > 1 else output
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder} is a file; --output names a folder")
            of = _fetch_of_job if ids.is_job(name) else _fetch_of_model
            paths = of(client, name, only, f"{folder}/", Bar(bars))
            fetched.extend(paths)
            for path in [] if as_json else paths:
                say(path)
            if not paths and not as_json:
                note(f"{name} has no artifacts yet")

        _, failures = each(client, names, ids.job_or_model_id, fetch)
    if as_json:
        print_json({"data": [{"path": str(path), "bytes": path.stat().st_size} for path in fetched]})
    failures.end()


def _fetch_of_job(client: Client, name: str, only: list[str] | None, folder: str, bar: Bar) -> list[Path]:
    listed = [artifact.name for artifact in client.jobs.artifacts(name)]
    return [client.jobs.download(name, one, folder, progress=bar) for one in _wanted(name, only, listed)]


def _fetch_of_model(client: Client, name: str, only: list[str] | None, folder: str, bar: Bar) -> list[Path]:
    own = client.models.get(name).format
    formats = {FILES[format]: format for format in (own, "manifest")}
    wanted = _wanted(name, only, formats)
    return [client.models.download(name, folder, format=formats[one], progress=bar) for one in wanted]


def _wanted(owner: str, only: list[str] | None, there: Collection[str]) -> Iterable[str]:
    """The files to fetch; all of them are known to be there before the first one is fetched."""
    for name in only or ():
        if name not in there:
            raise NotFoundError.named(owner, "artifact", name, there)
    return only or there


def _show_validation(validation: Validation, as_json: bool) -> None:
    if as_json:
        print_json(validation.raw)
        return
    model = validation.model
    fields(
        [
            ("valid", True),
            *costs_of(model),
            ("parameters take", size(model.get("parameter_bytes"))),
            ("activations take", size(model.get("activation_bytes"))),
            ("latency model", f"{number(model.get('latency_cycles'))} cycles"),
        ]
    )
    layers = model.get("layers") or []
    if layers:
        console().print()
        table(["LAYER", "KIND", "OUTPUT", "PARAMETERS>", "ADD>", "MUL>", "XNOR>"], [_layer(layer) for layer in layers])


def _layer(layer: Mapping[str, Any]) -> list[Any]:
    operations = layer.get("operations") or {}
    counts = (layer.get("parameters"), *(operations.get(name) for name in ("add", "mul", "xnor")))
    return [layer.get("name"), layer.get("kind"), shape(layer.get("output_shape") or []), *map(number, counts)]
