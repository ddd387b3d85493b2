"""Buttons of a page. Each one is a call of the REST API, made by a script in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.spec import KINDS, SUBMITTED


@dataclass(frozen=True)
class Action:
    """A button that calls the API."""

    name: str
    method: str
    path: str
    confirm: str = ""
    """The question that is asked before the call; empty for none."""
    then: str = ""
    """The page to open after success; empty to stay. `job` opens the job of the answer."""
    danger: bool = False


@dataclass(frozen=True)
class Link:
    """A link beside the buttons: to a form that begins with what the reader looks at."""

    name: str
    path: str


def about_model(model_id: str, dataset: str, *, quantises: bool) -> list[Link]:
    """The forms of all kinds of jobs that are about one model."""
    found = []
    for kind in SUBMITTED:
        field = KINDS[kind].model_fields.get("model_id")
        if field is None or not field.is_required() or (kind == "quantize" and not quantises):
            continue
        given = {"kind": kind, "model_id": model_id, "dataset.name": dataset}
        found.append(Link(f"{kind.capitalize()} …", f"/new?{urlencode(given)}"))
    return found
