"""``adder edit`` and ``adder alias``, and the options by which ``adder jobs`` and ``adder models`` find and sort."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from adderclient.command import ids, specs
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.errors import UsageError
from adderclient.command.formats import named
from adderclient.command.output import note, print_json
from adderclient.command.terminal import say
from adderclient.keeping import TIMES, Filters
from adderclient.records import Job, Model


class Order(StrEnum):
    """Directions of a list."""

    asc = "asc"
    desc = "desc"


Labels = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY:VALUE", help="Repeatable.")]
Search = Annotated[
    str | None,
    typer.Option("--search", "-q", metavar="WORDS", help="Each begins a word of name, labels, network or dataset."),
]
Starred = Annotated[bool | None, typer.Option("--starred/--unstarred", help="Only those with a star, or without.")]
OfDataset = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only those on this dataset.")]
OfSweep = Annotated[str | None, typer.Option("--sweep", metavar="SWEEP", help="Only trials of this sweep.")]
Sort = Annotated[
    str | None,
    typer.Option(metavar="BY", help="created, finished, or a metric such as val/accuracy.", show_default="created"),
]
InOrder = Annotated[Order | None, typer.Option("--order", help="Direction.", show_default="newest or best first")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(edit)
    app.command()(alias)


def filters(
    label: Sequence[str] | None,
    search: str | None,
    starred: bool | None,
    dataset: str | None,
    sweep: str | None,
    sort: str | None,
    order: Order | None,
) -> Filters:
    """What these options ask a list for."""
    return {
        "labels": specs.labels(label or ()),
        "search": search,
        "starred": starred,
        "dataset": dataset,
        "sweep": sweep,
        "sort": sort,
        "order": None if order is None else order.value,
    }


def metric_of(sort: str | None) -> str | None:
    """The metric by which a list is sorted, and which its table shows."""
    return None if sort is None or sort in TIMES else sort.removeprefix("metric:")


def value_of(numbers: Any, metric: str) -> str:
    """A metric in a table."""
    return named(metric, numbers.get(metric))


def titled(found: Job | Model, about: str) -> str:
    """Its star, name and what it is about, for one cell of a table."""
    star = "★ " if found.starred else ""
    return f"{star}{found.name} · {about}" if found.name and about else f"{star}{found.name or about}"


def edit(
    name: Annotated[str, typer.Argument(metavar="ID", help="A job's id, or a model's.")],
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
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's id, or an alias.")],
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
