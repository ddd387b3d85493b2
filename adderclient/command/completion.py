"""What the shell offers after TAB. It is quick, and says nothing where the server is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
import typer

from adderclient import profiles, schema

SECONDS = 0.8
"""After which the shell is given nothing."""
MOST: Final = 30
"""Objects that are offered."""
Offer = tuple[str, str]
"""What completes a word, and a remark about it."""
PATHS: Final = {"job": "jobs", "model": "models", "sweep": "sweeps", "dataset": "datasets"}


def objects(*kinds: str) -> Callable[[typer.Context, str], list[Offer]]:
    """What completes the id of an object, for an argument that takes these kinds."""

    def complete(context: typer.Context, incomplete: str) -> list[Offer]:
        wanted = [kind for kind in kinds if not incomplete or _may_be(kind, incomplete)]
        found = [offer for kind in wanted for offer in _objects(context, kind) if offer[0].startswith(incomplete)]
        if "@last".startswith(incomplete):
            found.insert(0, ("@last", "the newest"))
        return found

    return complete


def recipes(context: typer.Context, incomplete: str) -> list[Offer]:
    """What completes the name of a recipe."""
    rows = _asked(context, "recipes", limit=100)
    return [(row["name"], str(row.get("title", ""))) for row in rows if str(row["name"]).startswith(incomplete)]


def datasets(context: typer.Context, incomplete: str) -> list[Offer]:
    """What completes the name of a dataset."""
    return [offer for offer in _objects(context, "dataset") if offer[0].startswith(incomplete)]


def archs(incomplete: str) -> list[str]:
    """What completes the name of a network."""
    return [name for name in choices("model.arch") if name.startswith(incomplete)]


def methods(incomplete: str) -> list[str]:
    """What completes the name of a method."""
    return [name for name in choices("model.method") if name.startswith(incomplete)]


def overrides(incomplete: str) -> list[Offer]:
    """What completes ``--set``: the fields of specs, and after ``=`` the values of one."""
    name, separator, value = incomplete.partition("=")
    if separator:
        return [(f"{name}={one}", "") for one in choices(name) if one.startswith(value)]
    return [
        (f"{one}=", " ".join(str(field.get("description", "")).split()))
        for one, field in _fields()
        if one.startswith(name) and "properties" not in field
    ]


def choices(name: str) -> list[str]:
    """The values that a field of a spec may have, where they are named."""
    field = dict(_fields()).get(name, {})
    named = [one.get("enum", ["true", "false"] if one.get("type") == "boolean" else []) for one in _options(field)]
    return [str(value) for values in named for value in values]


def _options(field: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = field.get("anyOf", [field])
    return found


def _fields() -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of all kinds of specs, each once."""
    known: set[str] = set()
    for kind in schema.kinds():
        for name, field in schema.fields(kind).items():
            if name not in known and not name.endswith("*"):
                known.add(name)
                yield name, field


def _may_be(kind: str, incomplete: str) -> bool:
    """Whether the beginning of a word may be that of an id of a kind; models and datasets have names as well."""
    prefix = "ds_" if kind == "dataset" else f"{kind}_"
    return prefix.startswith(incomplete) or incomplete.startswith(prefix) or kind in ("model", "dataset")


def _objects(context: typer.Context, kind: str) -> Iterator[Offer]:
    for row in _asked(context, PATHS[kind], limit=MOST):
        for name in row.get("aliases") or ():
            yield name, _about(row)
        yield row["name" if kind == "dataset" else "id"], _about(row)


def _about(row: dict[str, Any]) -> str:
    """A few words about an object."""
    spec = row.get("spec") or {}
    network = spec.get("model") if isinstance(spec.get("model"), dict) else None
    parts = [row.get("status"), row.get("name"), row.get("arch"), (network or {}).get("arch"), spec.get("recipe")]
    return " ".join(str(part) for part in parts if part)


def _asked(context: typer.Context, path: str, **params: Any) -> list[dict[str, Any]]:
    """The rows of a listing; nothing where they cannot be had at once."""
    at: Any = context
    url = None
    while at is not None and url is None:
        url = at.params.get("url")
        at = at.parent
    asked = url or profiles.own_url()
    base, key = asked.rstrip("/").removesuffix("/v1"), profiles.own_key(asked)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        profiles.require_private(base, key)
        answer = httpx2.get(f"{base}/v1/{path}", params=params, headers=headers, timeout=SECONDS, trust_env=False)
        rows = answer.json()["data"]
        return [row for row in rows if isinstance(row, dict) and isinstance(row.get("id", row.get("name")), str)]
    except Exception:  # noqa: BLE001 - whatever goes wrong, a shell that completes a word shows no error
        return []
