"""``adder models``, ``import`` and ``predict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, ids, keeping
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.conversion import converted
from adderclient.command.errors import UsageError
from adderclient.command.groups import group
from adderclient.command.jobs import download
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.objects import of_kind
from adderclient.command.output import fields, note, print_json, table
from adderclient.command.terminal import say
from adderclient.formats import ago, number, percent, size
from adderclient.records import Model

COLUMNS: tuple[Column[Model], ...] = (
    Column("id", lambda model: model.id, heading="MODEL"),
    Column("network", lambda model: model.arch, lambda model: keeping.titled(model, model.arch), rank=2, cut=True),
    Column("method", lambda model: model.method, rank=5),
    Column("dataset", lambda model: model.dataset, rank=3, cut=True),
    Column(
        "accuracy",
        lambda model: keeping.accuracy_of(model.metrics),
        lambda model: percent(keeping.accuracy_of(model.metrics)),
        rank=1,
        right=True,
    ),
    Column("aliases", lambda model: model.aliases, rank=6, cut=True),
    *keeping.kept_columns(),
    Column("parameters", lambda model: model.parameters, lambda model: number(model.parameters), rank=8, right=True),
    Column("created", lambda model: model.created_at, lambda model: ago(model.created_at), rank=7),
    Column("from", lambda model: model.job_id or model.source, rank=9),
    Column("bytes", lambda model: model.bytes, lambda model: size(model.bytes), right=True, extra=True),
    Column("sha256", lambda model: model.sha256, extra=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("import")(import_model)
    app.command()(predict)
    verbs: dict[str, Callable[..., None]] = {**of_kind("model"), "import": import_model, "predict": predict}
    verbs |= {"download": download}
    app.add_typer(group("models", "List models; show, import, delete and ask them.", models, verbs))


@listing(limit=20, page="/models", sort=keeping.Sort, order=keeping.Direction)
def models(
    client: Client,
    request: Request,
    label: keeping.Labels = None,
    search: keeping.Search = None,
    starred: keeping.Starred = None,
    dataset: keeping.OfDataset = None,
    sweep: keeping.OfSweep = None,
) -> Listed[Model]:
    """List models, newest first or as --sort says."""
    filters = keeping.filters(client, request, label, search, starred, dataset, sweep)
    found = request.read(lambda size, at: client.models.list(limit=size, after=at, **filters))
    sorted_by = keeping.metric_column(request.sort, _metrics)
    return Listed(found, [*COLUMNS, *sorted_by], column_named=partial(keeping.found_column, numbers=_metrics))


def _metrics(model: Model) -> Mapping[str, Any]:
    return model.metrics


def import_model(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A model.safetensors or model.adder, or with --from-authors a .pth or .ckpt."
        ),
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
        raise UsageError("--dataset goes with --from-authors alone; other files say themselves what it was trained on")
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
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model's id, its end, @last, or an alias.",
            autocompletion=completion.objects("model"),
        ),
    ],
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
        table(["CLASS", "PROBABILITY>"], [(name, percent(value)) for name, value in ranked[:top]])
    else:
        fields(answer.items())


def ranking(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Classes and probabilities of a prediction, likeliest first; empty where there are none."""
    probabilities = answer.get("probabilities")
    pairs = probabilities.items() if isinstance(probabilities, Mapping) else ()
    return sorted(((str(name), float(value)) for name, value in pairs), key=lambda pair: -pair[1])
