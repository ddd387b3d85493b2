"""Job specs from a file or stdin, with overrides from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from adderclient import schema, spec_file
from adderclient.command.errors import UsageError


def load(source: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The spec in the file ``source`` (``-``: stdin), YAML or JSON, with ``a.b=value`` overrides applied."""
    spec = spec_file.parsed(source, sys.stdin.read()) if source == "-" else spec_file.read(source)
    return overridden(spec, overrides)


def of_recipe(name: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The spec of a job that computes a recipe; the server fills in what is left out."""
    return overridden({"kind": "analyze", "recipe": name}, overrides)


def overridden(spec: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A spec with ``a.b=value`` overrides applied."""
    for override in overrides:
        _apply(spec, override)
    return spec


def labels(pairs: Iterable[str]) -> dict[str, str]:
    """``k:v`` or ``k=v`` labels as a mapping."""
    found = {}
    for pair in pairs:
        key, separator, value = pair.partition(":" if ":" in pair else "=")
        if not separator or not key:
            raise UsageError(f"--label {pair}: write it as key:value")
        found[key] = value
    return found


def _apply(spec: dict[str, Any], override: str) -> None:
    name, separator, value = override.partition("=")
    *parents, last = name.split(".")
    if not separator or not last:
        raise UsageError(f"--set {override}: write it as name=value, such as optimizer.lr=0.05")
    place = spec
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {override}: {parent} is {spec_file.kind_of(inner)} in the spec, it has no fields")
        place = inner
    place[last] = _value(str(spec.get("kind", "")), name, value, override)


def _value(kind: str, name: str, text: str, override: str) -> Any:
    """The value of ``--set``, of the type that the field has. A kind that this client does not know takes anything."""
    from addercore import yaml  # here, as most commands read none

    field = schema.find(kind, name)
    if field is None and schema.fields(kind):
        meant = schema.nearest(kind, name)
        raise UsageError(f"--set {override}: {kind} has no field {name}{f'; did you mean {meant}?' if meant else ''}")
    try:
        value = yaml.parsed(text) if text else None
    except ValueError as error:
        raise UsageError(f"--set {override}: the value is not YAML: {error}") from error
    if field is None:
        return value
    if schema.is_text(field) and not isinstance(value, str) and not (value is None and schema.takes(field, None)):
        return text
    if not schema.takes(field, value):
        raise UsageError(f"--set {override}: {name} takes {schema.values(field)}")
    return value
