"""What callers hand in, as requests take it: specs, ids, and values that JSON has no form for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike, fspath
from typing import Any
from urllib.parse import quote

from adderclient import spec_file
from adderclient.errors import BadId

Spec = Mapping[str, Any] | str | PathLike[str]
"""A job's or a sweep's spec, or the path of a file that holds one."""

Place = tuple[Any, object] | None
"""A field: the place that it lies in, and its name or number there. Written out only where it is complained of."""


def spec_of(spec: Spec) -> Mapping[str, Any]:
    """A spec that is handed in itself, or as the path of a YAML or JSON file.

    Raises:
        BadSpec: the file cannot be read, or holds none.
        TypeError: it is neither.
    """
    if isinstance(spec, Mapping):
        return spec
    if isinstance(spec, str | PathLike):
        return spec_file.read(spec)
    raise TypeError(f"a spec is a mapping, or the path of a YAML or JSON file, not {type(spec).__name__}")


def segment(id: object) -> str:
    """A part of a URL's path: the text of an id or a name, or the id of an object that has one.

    Raises:
        TypeError: it is no text.
        BadId: no path has such a part.
    """
    found = getattr(id, "id", id)
    if not isinstance(found, str):
        raise TypeError(f"an id or a name is a text, not {type(found).__name__}: {found!r}")
    if found in ("", ".", ".."):
        raise BadId(f"{found!r} is no id and no name")
    return quote(found, safe="")


def plain(value: Any, at: Place = None) -> Any:
    """A value as JSON has it: arrays and numbers of numpy become lists and numbers, paths and enumerations texts.

    Args:
        value: of any type.
        at: the field that it is in, for messages; None for the whole.

    Raises:
        TypeError: JSON has no form for it.
        ValueError: it is NaN or infinite.
    """
    if isinstance(value, Enum):
        return plain(value.value, at)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{_where(at)}{value} is no number of JSON")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_name(name, at): plain(inner, (at, name)) for name, inner in value.items()}
    if isinstance(value, PathLike):
        return str(fspath(value))
    if hasattr(value, "tolist"):  # arrays and numbers of numpy, tensors
        return plain(value.tolist(), at)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(inner, (at, number)) for number, inner in enumerate(value)]
    remedy = "give a text, a number, a list or a mapping"
    raise TypeError(f"{_where(at)}JSON has no form for {type(value).__name__}; {remedy}")


def _name(name: object, at: Place) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{_where(at)}the name of a field is a text, not {type(name).__name__}: {name!r}")
    return name


def _where(at: Place) -> str:
    """`optimizer.lr: `, or nothing for the whole."""
    names: list[str] = []
    while at is not None:
        at, name = at
        names.insert(0, str(name))
    return f"{'.'.join(names)}: " if names else ""
