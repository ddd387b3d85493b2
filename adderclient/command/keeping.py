"""``adder edit`` and ``adder alias``, and the options by which ``adder jobs`` and ``adder models`` find and sort."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, ids, specs
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError
from adderclient.command.listing import Order, Request
from adderclient.command.output import note, print_json
from adderclient.command.terminal import say
from adderclient.formats import is_number, named, text
from adderclient.keeping import COLUMNS, TIMES, Filters
from adderclient.records import Job, Model

Labels = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY:VALUE", help="Repeatable.")]
Search = Annotated[
    str | None,
    typer.Option("--search", "-q", metavar="WORDS", help="Each begins a word of name, labels, network or dataset."),
]
Starred = Annotated[bool | None, typer.Option("--starred/--unstarred", help="Only those with a star, or without.")]
OfDataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="Only those on this dataset.", autocompletion=completion.datasets),
]
OfSweep = Annotated[
    str | None,
    typer.Option(
        "--sweep", metavar="SWEEP", help="Only trials of this sweep.", autocompletion=completion.objects("sweep")
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="BY",
        help="created, finished, or a metric such as val/accuracy; of jobs also duration, spec.FIELD, label.NAME.",
        show_default="created",
    ),
]
Direction = Annotated[Order | None, typer.Option("--order", help="Direction.", show_default="newest or best first")]
ACCURACIES = ("val/accuracy", "accuracy")
"""Where the accuracy of a training and of an evaluation stands."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(edit)
    app.command()(alias)


def filters(
    client: Client,
    request: Request,
    label: Sequence[str] | None,
    search: str | None,
    starred: bool | None,
    dataset: str | None,
    sweep: str | None,
) -> Filters:
    """What these options ask a list for."""
    return {
        "labels": specs.labels(label or ()),
        "search": search,
        "starred": starred,
        "dataset": dataset,
        "sweep": None if sweep is None else ids.sweep_id(client, sweep),
        "sort": request.sort,
        "order": None if request.order is None else request.order.value,
    }


def metric_column(sort: str | None, numbers: Callable[[Any], Any]) -> list[Column[Any]]:
    """The column of the metric by which a list is sorted, where it has none anyway."""
    if sort is None or sort in (*TIMES, *COLUMNS) or sort.removeprefix("metric:") in ACCURACIES:
        return []
    if sort.startswith(("spec.", "label.", "result.")):
        return []
    found = found_column(f"metric:{sort.removeprefix('metric:')}", numbers)
    return [] if found is None else [replace(found, rank=1)]


def found_column(name: str, numbers: Callable[[Any], Any]) -> Column[Any] | None:
    """The column of a metric (`val/loss`, `metric:loss`) or of one label (`label:study`), which only some rows have."""
    if "/" not in name and not name.startswith(("label:", "metric:")):
        return None
    if name.startswith("label:"):
        key = name.removeprefix("label:")
        return Column(name, lambda row: row.labels.get(key), cut=True, heading=key.upper())
    metric = name.removeprefix("metric:")

    def value(row: Any) -> Any:
        return numbers(row).get(metric)

    return Column(name, value, lambda row: named(metric, value(row)), right=True, heading=metric.upper())


def kept_columns() -> tuple[Column[Any], ...]:
    """The columns of what users keep with jobs and models."""
    return (
        Column("labels", lambda row: row.labels, lambda row: text(row.labels), rank=4, cut=True),
        Column("name", lambda row: row.name, extra=True, cut=True),
        Column("starred", lambda row: row.starred, extra=True),
        Column("notes", lambda row: row.notes, extra=True, cut=True),
    )


def accuracy_of(numbers: Mapping[str, Any]) -> float | None:
    """The accuracy among the numbers of a result or a model, a share from 0 to 1; of a quantisation the integer
    model's."""
    integer = numbers.get("integer")
    numbers = integer if isinstance(integer, Mapping) else numbers
    return next((numbers[name] for name in ACCURACIES if is_number(numbers.get(name))), None)


def titled(found: Job | Model, about: str) -> str:
    """Its star, name and what it is about, for one cell of a table."""
    star = "★ " if found.starred else ""
    return f"{star}{found.name} · {about}" if found.name and about else f"{star}{found.name or about}"


def edit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A job's id, or a model's.", autocompletion=completion.objects("job", "model")
        ),
    ],
    title: Annotated[str | None, typer.Option("--name", help="A title on one line; empty: none.")] = None,
    notes: Annotated[str | None, typer.Option(help="Any text; empty: none.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY:VALUE", help="Set a label; repeatable.")
    ] = None,
    remove_label: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Take a label away; repeatable.")
    ] = None,
    star: Annotated[bool | None, typer.Option("--star/--unstar", help="Give it a star, or take that away.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Name, describe, label or star a job or a model."""
    given = (title, notes, star)
    if all(one is None for one in given) and not label and not remove_label:
        raise UsageError("say what to change: --name, --notes, --label, --remove-label, --star or --unstar")
    labels: dict[str, str | None] = {**specs.labels(label or ()), **dict.fromkeys(remove_label or ())}
    changes: dict[str, Any] = {"name": title, "notes": notes, "labels": labels or None, "starred": star}
    found: Job | Model
    with connect(url) as client:
        id_ = ids.job_or_model_id(client, name)
        found = client.jobs.edit(id_, **changes) if ids.is_job(id_) else client.models.edit(id_, **changes)
    if as_json:
        print_json(found.raw)
    else:
        note(f"{found.id} is changed")


def alias(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model's id, or an alias.", autocompletion=completion.objects("model")),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Stands wherever the id may; left out: list them.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a model an alias, such as `champion`; one that pointed to another model moves."""
    if name is None and remove:
        raise UsageError("--remove takes the NAME of an alias")
    with connect(url) as client:
        id_ = ids.model_id(client, model)
        if name is not None and remove:
            client.models.remove_alias(id_, name)
            note(f"{name} is taken from {id_}")
            return
        found = client.models.get(id_) if name is None else client.models.set_alias(id_, name)
    if as_json:
        print_json(found.raw)
    elif name is None:
        for one in found.aliases:
            say(one)
    else:
        note(f"{name} is {found.id}")
