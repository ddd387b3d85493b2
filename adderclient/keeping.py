"""What lists of jobs and of models are asked for, and what users keep with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from adderclient.transport import Params, given

TIMES = ("created", "finished")
COLUMNS = ("duration", "kind", "name", "progress", "status")
PREFIXES = ("metric:", "spec.", "label.", "result.")


class Filters(TypedDict, total=False):
    """Which rows a list of jobs or of models has, and in which order. What is left out or None filters nothing.

    Attributes:
        labels: only rows that have all these labels.
        search: up to 8 words, each of which begins a word of the name, a label, the network or the dataset.
        starred: only rows with a star, or only those without.
        dataset: only rows of this dataset: a name, ``name@version`` or an id.
        sweep: only jobs that are trials of the sweep with this id, or models that these trained.
        sort: ``created`` (the default), ``finished``, or the name of a metric of the result, such as ``val/accuracy``;
            of jobs also ``duration``, ``kind``, ``name``, ``progress``, ``status``, ``spec.FIELD``, ``label.NAME`` or
            ``result.NAME``. Rows without it come last.
        order: ``asc`` or ``desc``; by default the newest come first, by a metric the best, and of names the first ones.
    """

    labels: Mapping[str, str] | None
    search: str | None
    starred: bool | None
    dataset: str | None
    sweep: str | None
    sort: str | None
    order: Literal["asc", "desc"] | None


def listing(filters: Filters) -> Params:
    """The query of a list. A ``sort`` that is no time and no column is the name of a metric."""
    sort, starred = filters.get("sort"), filters.get("starred")
    if sort is not None and sort not in (*TIMES, *COLUMNS) and not sort.startswith(PREFIXES):
        sort = f"metric:{sort}"
    params = given(
        q=filters.get("search"),
        starred=None if starred is None else str(starred).lower(),
        dataset=filters.get("dataset"),
        sweep=filters.get("sweep"),
        sort=sort,
        order=filters.get("order"),
    )
    return [*params, *(("label", f"{key}:{value}") for key, value in (filters.get("labels") or {}).items())]


def changes(
    name: str | None, notes: str | None, labels: Mapping[str, str | None] | None, starred: bool | None
) -> dict[str, Any]:
    """The body of a change: without what is None; an empty text takes a name or notes away."""
    found: dict[str, Any] = {key: text or None for key, text in (("name", name), ("notes", notes)) if text is not None}
    if labels is not None:
        found["labels"] = dict(labels)
    if starred is not None:
        found["starred"] = starred
    return found
