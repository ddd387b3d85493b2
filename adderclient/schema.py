"""The fields of a job's spec: `specs.json`, which `python -m jobs.spec_files` makes from the server's definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

Schema = dict[str, Any]

_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}


@lru_cache(maxsize=1)
def _document() -> Schema:
    found: Schema = json.loads(files("adderclient").joinpath("specs.json").read_text(encoding="utf-8"))
    return found


def kinds() -> tuple[str, ...]:
    """The kinds of jobs that are submitted."""
    return tuple(_document()["kinds"])


@lru_cache(maxsize=8)
def fields(kind: str) -> dict[str, Schema]:
    """The fields of a kind of job by their dotted names, each with its JSON schema.

    A name that ends in `.*` stands for fields with free names, such as `labels.*`. Empty for a kind that this client
    does not know.
    """
    reference = _document()["kinds"].get(kind)
    return {} if reference is None else dict(_fields(_resolved({"$ref": reference}), ""))


def find(kind: str, name: str) -> Schema | None:
    """The schema of a field, or None where the kind has no such field."""
    known = fields(kind)
    return known.get(name) or known.get(f"{name.rpartition('.')[0]}.*")


def nearest(kind: str, name: str) -> str | None:
    """The field that was most likely meant by a wrong name: `optimizer.learning_rate` → `optimizer.lr`."""
    section, _, last = name.rpartition(".")
    last = _document()["synonyms"].get(last.replace("-", "_").lower(), last)
    known = [one for one in fields(kind) if not one.endswith("*")]
    beside = [one for one in known if one.rpartition(".")[0] == section]
    for names in (beside, known):
        ends = {one.rpartition(".")[2]: one for one in reversed(names)}
        same = [end for end in ends if last in (end, _initials(end)) or _initials(last) == end]
        for end in same or get_close_matches(last, list(ends), 1):
            return ends[end]
    return None


def called(word: str) -> str | None:
    """The field of some kind of job whose last part is this word or what it stands for: `lr` → `optimizer.lr`."""
    word = word.replace("-", "_").lower()
    last = _document()["synonyms"].get(word, word)
    known = [name for kind in kinds() for name in fields(kind)]
    return next((name for name in known if last in (name, name.rpartition(".")[2])), None)


def takes(schema: Schema, value: Any) -> bool:
    """Whether a value has a type that the field may have; the server checks its bounds."""
    kinds = {one.get("type") for one in schema.get("anyOf", [schema])} - {None}
    return not kinds or any(_is(kind, value) for kind in kinds)


def is_text(schema: Schema) -> bool:
    """Whether the field takes texts, perhaps beside null, and nothing else."""
    return {one.get("type") for one in schema.get("anyOf", [schema])} - {"null"} == {"string"}


def values(schema: Schema) -> str:
    """What the field takes, in a few words."""
    choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    known = choices[0].get("enum") if choices else None
    if known:
        return f"one of {', '.join(map(str, known))}"
    return " or ".join(str(one.get("x-values", _WORDS.get(one.get("type", ""), "another value"))) for one in choices)


def _is(kind: str, value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "integer":
            return whole or (isinstance(value, float) and value.is_integer())
        case "number":
            return whole or isinstance(value, float)
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case _:
            return value is None


def _resolved(schema: Schema) -> Schema:
    """A field's schema with its reference followed, of null or a section as well."""
    for one in [schema, *schema.get("anyOf", ())]:
        if "$ref" in one:
            return {**_document()["$defs"][one["$ref"].rpartition("/")[2]], **schema}
    return schema


def _fields(section: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    for name, field in section.get("properties", {}).items():
        schema = _resolved(field)
        yield prefix + name, schema
        yield from _fields(schema, f"{prefix}{name}.")
        for free in schema.get("patternProperties", {}).values():
            yield f"{prefix}{name}.*", free


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_")) if "_" in name else name
