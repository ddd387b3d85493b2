"""YAML 1.2 (https://yaml.org/spec/1.2.2), of which JSON is a part: `010` is ten, `on` and `2024-01-05` are texts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from math import isfinite
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

TIMESTAMP = "tag:yaml.org,2002:timestamp"
DEEPEST = 64
"""Levels of nesting that a document may have; a spec has five."""
MOST_VALUES = 100_000
"""Values that a document may have, those of its aliases counted each time."""


class _Constructor(SafeConstructor):
    """Of plain values: YAML 1.2 has no dates of its own, but this library makes some."""


_Constructor.add_constructor(TIMESTAMP, lambda _, node: node.value)


def parsed(text: str) -> Any:
    """The value that a document has, made of what JSON has.

    Raises:
        ValueError: it is no YAML, or has what JSON has not: other keys than texts, sets, binary data, NaN.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    try:
        value = reader.load(text)
    except YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return checked(value)


def checked(value: Any) -> Any:
    """The value, if it is made of what JSON has. Raises ValueError as `parsed` does."""
    _check(value, "", DEEPEST, [MOST_VALUES])
    return value


def _check(value: Any, place: str, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if depth == 0 or left[0] < 0:
        raise ValueError(f"{place or 'it'} is nested too deeply, or too long")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place or 'it'} has the key {key!r}; keys are texts, write it in quotes")
            _check(inner, f"{place}.{key}" if place else key, depth - 1, left)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _check(inner, f"{place}[{at}]", depth - 1, left)
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{place or 'it'} is no finite number")
    elif isinstance(value, str):
        if any("\ud800" <= one <= "\udfff" for one in value):
            raise ValueError(f"{place or 'it'} has half a character (a surrogate)")
    elif not (value is None or isinstance(value, int)):
        raise ValueError(f"{place or 'it'} is a {type(value).__name__}, which a spec cannot have")


def dumped(value: Mapping[str, Any], width: int) -> str:
    """A mapping as YAML in the order that it has; its innermost mappings and lists on one line each."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.width = width
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    writer.dump(dict(value), stream)
    return stream.getvalue()
