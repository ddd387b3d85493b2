"""``adder delete``, and the verbs that each group of objects has: ``show``, ``watch``, ``delete``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from adderclient.client import Client
from adderclient.command import completion, ids
from adderclient.command.app import AsJson, Objects, Url, connect
from adderclient.command.follow import Interval, watch_objects
from adderclient.command.output import note
from adderclient.command.several import Failures, confirm
from adderclient.command.showing import show_objects
from adderclient.command.web import OnTheWeb

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
LEFT = {"job": "", "model": "; its job stays", "sweep": "; its jobs stay", "dataset": "; models trained on it stay"}
"""What is said of a deleted object of each kind."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(delete)


def delete(names: Objects, yes: Yes = False, url: Url = None) -> None:
    """Delete finished jobs, models, finished sweeps or your own datasets. On a terminal it asks first."""
    delete_objects(names, None, yes, url)


def delete_objects(names: Sequence[str], only: str | None, yes: bool, url: str | None) -> None:
    """What `delete` does; ``only`` is the kind of all of them, or None."""
    failures = Failures()
    with connect(url) as client:
        meant = failures.of(names, lambda name: ids.of_kind(client, name, only))
        if meant:
            confirm(f"Delete {', '.join(f'{kind} {id_}' for kind, id_ in meant)}?", yes)
        kinds = {id_: kind for kind, id_ in meant}

        def gone(id_: str) -> None:
            _delete(client, kinds[id_], id_)
            note(f"{id_} deleted{LEFT[kinds[id_]]}")

        failures.of(list(kinds), gone, alone=len(names) == 1)
    failures.end()


def _delete(client: Client, kind: str, id_: str) -> None:
    match kind:
        case "job":
            client.jobs.delete(id_)
        case "model":
            client.models.delete(id_)
        case "sweep":
            client.sweeps.delete(id_)
        case _:
            client.datasets.delete(id_)


def of_kind(kind: str) -> dict[str, Callable[..., None]]:
    """The verbs ``show``, ``watch`` and ``delete`` for objects of one kind."""
    argument = typer.Argument(metavar=f"{kind.upper()}…", help=HELP[kind], autocompletion=completion.objects(kind))
    names: Any = Annotated[list[str], argument]

    def show(names: names, url: Url = None, as_json: AsJson = False, web: OnTheWeb = False) -> None:
        show_objects(names, kind, url, as_json, web)

    def watch(names: names, interval: Interval = 0.5, url: Url = None, as_json: AsJson = False) -> None:
        watch_objects(names, kind, url, as_json, interval)

    def delete(names: names, yes: Yes = False, url: Url = None) -> None:
        delete_objects(names, kind, yes, url)

    made: dict[str, Callable[..., None]] = {"show": show, "watch": watch, "delete": delete}
    for verb, command in made.items():
        command.__annotations__["names"] = names
        command.__doc__ = f"{verb.capitalize()} {kind}s{'; on a terminal it asks first' if verb == 'delete' else ''}."
    return made


HELP = {
    "job": "Jobs' ids, their ends, or @last.",
    "model": "Models' ids, their ends, aliases, or @last.",
    "sweep": "Sweeps' ids, their ends, or @last.",
    "dataset": "Ids, names (the newest version), NAME@VERSION, or @last.",
}
"""What names an object of each kind."""
