"""``adder models``, ``import`` and ``predict``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from adderclient.command import ids, keeping
from adderclient.command.app import After, AsJson, Limit, Url, connect
from adderclient.command.conversion import converted
from adderclient.command.errors import UsageError
from adderclient.command.formats import DASH, ago, is_number, number, percent
from adderclient.command.output import collect, fields, note, note_more, print_json, print_list, table
from adderclient.command.terminal import say
from adderclient.records import Model

ACCURACIES = ("val/accuracy", "accuracy")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(models)
    app.command("import")(import_model)
    app.command()(predict)


def models(
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
    """List models, newest first or as --sort says."""
    filters = keeping.filters(label, search, starred, dataset, sweep, sort, order)
    with connect(url) as client:
        if sweep is not None:
            filters["sweep"] = ids.sweep_id(client, sweep)
        found, cursor = collect(lambda size, at: client.models.list(limit=size, after=at, **filters), limit, after)
    if as_json:
        print_list((model.raw for model in found), cursor is not None, cursor)
        return
    metric = keeping.metric_of(sort)
    metric = None if metric in ACCURACIES else metric  # which has a column anyway
    columns = ["MODEL", "NETWORK", "METHOD", "DATASET", "PARAMETERS>", "VAL ACCURACY>", "FROM", "CREATED"]
    table([*columns, f"{metric.upper()}>"] if metric else columns, (_row(model, metric) for model in found))
    note_more(limit, cursor)


def _row(model: Model, metric: str | None) -> list[Any]:
    row = [
        model.id,
        keeping.titled(model, model.arch),
        model.method,
        model.dataset,
        number(model.parameters),
        _accuracy(model),
        model.job_id or model.source,
        ago(model.created_at),
    ]
    return [*row, keeping.value_of(model.metrics, metric)] if metric else row


def import_model(
    weights: Annotated[
        Path, typer.Argument(metavar="FILE", help="A model.safetensors, or with --from-authors a .pth or .ckpt.")
    ],
    manifest: Annotated[
        Path | None, typer.Option(help="Its model.json, to be compared with the one inside FILE.")
    ] = None,
    from_authors: Annotated[
        bool,
        typer.Option("--from-authors", help="FILE is a state dictionary of the paper's own code."),
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --from-authors: what it was trained on.",
            show_default="cifar10, cifar100 or imagenet, by its classes",
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a downloaded model back to the server, or one of the paper's authors; its id goes to stdout."""
    if dataset is not None and not from_authors:
        raise UsageError("--dataset goes with --from-authors alone; a model.safetensors says what it was trained on")
    if manifest is not None and from_authors:
        raise UsageError("--manifest does not go with --from-authors: the conversion makes it")
    with connect(url) as client, TemporaryDirectory() as folder:
        file = converted(weights, Path(folder), dataset) if from_authors else weights
        model = client.models.import_(file, manifest)
    if as_json:
        print_json(model.raw)
    else:
        say(model.id)


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's id, its end, @last, or an alias.")],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file, or a data URI.")],
    value_range: Annotated[
        str | None,
        typer.Option(help="Black and white of a 16-bit image: 0..1, 0..255, -1..1, bits; else told by its values."),
    ] = None,
    transparent_on: Annotated[
        str | None, typer.Option(help="Ground of transparent pixels: white (default), black, refuse.")
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to show.", min=1)] = 5,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model what an image shows."""
    with connect(url) as client:
        answer = client.models.predict(
            ids.model_id(client, model), image, value_range=value_range, transparent_on=transparent_on
        )
    if as_json:
        print_json(answer)
        return
    for remark in answer.get("notes") or ():
        note(remark)
    ranked = ranking(answer)
    if ranked:
        table(["CLASS", "PROBABILITY>"], ((name, percent(value)) for name, value in ranked[:top]))
    else:
        fields(answer.items())


def ranking(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Classes and probabilities of a prediction, likeliest first; empty where there are none."""
    probabilities = answer.get("probabilities")
    pairs = probabilities.items() if isinstance(probabilities, Mapping) else ()
    return sorted(((str(name), float(value)) for name, value in pairs), key=lambda pair: -pair[1])


def _accuracy(model: Model) -> str:
    for name in ACCURACIES:
        value = model.metrics.get(name)
        if is_number(value):
            return percent(value)
    return DASH
