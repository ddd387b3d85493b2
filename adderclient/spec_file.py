"""Specs of jobs and of sweeps in files: YAML 1.2, or JSON where the name ends so."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from adderclient.errors import BadSpec


def read(path: str | PathLike[str]) -> dict[str, Any]:
    """The spec in a file.

    Raises:
        BadSpec: the file cannot be read, or holds none.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise BadSpec(f"cannot read the spec {path}: {reason}") from error
    return parsed(str(path), content)


def parsed(source: str, content: str) -> dict[str, Any]:
    """The spec in the text of a file.

    Args:
        source: the file's name; one that ends in .json is JSON.
        content: its text.

    Raises:
        BadSpec: the text holds none.
    """
    spec = _value(source, content)
    if not isinstance(spec, dict):
        raise BadSpec(f"{source}: a spec is a mapping with `kind`, `model`, `dataset`, …, this is {kind_of(spec)}")
    return spec


def kind_of(value: Any) -> str:
    """What a value is in YAML, in a word."""
    return {list: "a list", str: "a text", type(None): "empty"}.get(type(value), f"a {type(value).__name__}")


def _value(source: str, content: str) -> Any:
    from addercore import yaml  # here, as most callers read none
    from addercore.config.duplicates import NameTwice, once

    if source.endswith(".json"):
        try:
            return yaml.checked(json.loads(content, object_pairs_hook=once))
        except NameTwice as error:
            raise BadSpec(f"{source} is ambiguous: {error}") from error
        except (ValueError, RecursionError) as error:
            raise BadSpec(f"{source} is not JSON: {error}") from error
    try:
        return yaml.parsed(content)
    except ValueError as error:
        raise BadSpec(f"{source} is not YAML: {error}") from error
