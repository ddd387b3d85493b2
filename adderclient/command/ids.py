"""What the command line takes for an id: the whole id, its end where that is unique, ``@last``, a model's alias."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from adderclient.client import Client
from adderclient.command.errors import NOT_FOUND, CommandError
from adderclient.errors import NotFoundError
from adderclient.records import Found

END: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{6,26}")
"""Characters that the end of an id may have: no dataset or alias with an i, l, o or u is asked for in vain."""
LAST: Final = "@last"


def job_id(client: Client, text: str) -> str:
    """The id of the job that a text means.

    Raises:
        CommandError: no job's id ends so, or several do; they are listed.
    """
    return _meant(client, text, "job")


def model_id(client: Client, text: str) -> str:
    """The id of the model that a text means, or the text itself where it may be an alias. Raises as `job_id`."""
    return _meant(client, text, "model")


def sweep_id(client: Client, text: str) -> str:
    """The id of the sweep that a text means. Raises as `job_id`."""
    return _meant(client, text, "sweep")


def dataset_id(client: Client, text: str) -> str:
    """The id of the dataset that a text means, or the text itself where it may be a name. Raises as `job_id`."""
    return _meant(client, text, "dataset")


def job_or_model_id(client: Client, text: str) -> str:
    """The id of the job or the model that a text means; ``@last`` is a job. Raises as `job_id`."""
    return _meant(client, text, "job", "model")


PREFIXES: Final = {"job_": "job", "model_": "model", "sweep_": "sweep", "ds_": "dataset"}
KINDS: Final = tuple(PREFIXES.values())


def kind_and_id(client: Client, text: str) -> tuple[str, str]:
    """What a text means among all objects: its kind (``job``, ``model``, ``sweep``, ``dataset``) and its id.

    ``@last`` is a job. A text that is no id, nor the end of one, is an alias of a model or the name of a dataset.

    Raises:
        CommandError: nothing is called so, or several ids end so.
    """
    found = _meant(client, text, *KINDS)
    for prefix, kind in PREFIXES.items():
        if found.startswith(prefix):
            return kind, found
    if "@" not in found:
        with suppress(NotFoundError):
            return "model", client.models.get(found).id
    try:
        client.datasets.get(found)
    except NotFoundError as error:
        raise CommandError(f"there is no job, model, sweep or dataset {found!r}", NOT_FOUND) from error
    return "dataset", found


def of_kind(client: Client, text: str, kind: str | None) -> tuple[str, str]:
    """The kind and the id of what a text means, where the kind may be known. Raises as `kind_and_id`."""
    return kind_and_id(client, text) if kind is None else (kind, _meant(client, text, kind))


def is_job(name: str) -> bool:
    """Whether a name is a job's, and not that of a model."""
    return name.startswith("job_")


def _meant(client: Client, text: str, *types: str) -> str:
    if text == LAST:
        return _last(client, types[0])
    end = text.removeprefix("…")
    if not END.fullmatch(end):
        return text
    found = _found(client, end, types)
    if len(found) == 1:
        return found[0].id
    if found:
        listed = "".join(f"\n  {one.id}{f'  {one.name}' if one.name else ''}" for one in found)
        raise CommandError(f"several ids end with {end}; write more of it:{listed}", NOT_FOUND)
    if {"model", "dataset"}.isdisjoint(types):
        raise CommandError(f"no {types[0]} has an id that ends with {end}", NOT_FOUND)
    return text  # an alias or a name


def _found(client: Client, end: str, types: tuple[str, ...]) -> list[Found]:
    try:
        objects = client.resolve(end)
    except NotFoundError:  # an older server
        return []
    return [one for one in objects if one.type in types and one.id.endswith(end)]


def _last(client: Client, type_: str) -> str:
    """The newest object of a kind."""
    newest: list[str | None]
    match type_:
        case "job":
            newest = [one.id for one in client.jobs.list(limit=1)]
        case "model":
            newest = [one.id for one in client.models.list(limit=1)]
        case "sweep":
            newest = [one.id for one in client.sweeps.list(limit=1)]
        case _:
            newest = [one.id for one in client.datasets.list(limit=100) if one.version is not None]
    if not newest or newest[0] is None:
        raise CommandError(f"there is no {type_} yet, so {LAST} means nothing", NOT_FOUND)
    return newest[0]
