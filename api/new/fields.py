"""The fields of a form, made from a JSON schema: what each takes, and how a value is written in it and read again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from addercore.config.schema import Schema, Source, Walk, schema_of, values

Control = Literal["choice", "flag", "many", "list", "labels", "json", "text"]
Pairs = Mapping[str, Sequence[str]]
"""A form as a browser sends it: the values of each name."""
NULL: Final = "null"
"""How a person writes null where a field takes it."""
MODEL, DATASET = "a model's id", "a dataset's name or id"
"""`x-values` of the fields for which the form knows what there is to choose from."""
NUMBERS: Final = ("integer", "number")


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    """Dotted, as in a sweep's grid: `optimizer.lr`."""
    schema: Schema
    """Of its values, without null."""
    nullable: bool
    required: bool
    default: Any
    """As the schema states it; None where it states none."""
    meaning: str

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    @property
    def id(self) -> str:
        """For an element of the page."""
        return "f-" + self.name.replace(".", "-")

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that the schema lists."""
        each = self.schema.get("items", {}) if self.schema.get("type") == "array" else self.schema
        return tuple(each.get("enum", [each["const"]] if "const" in each else []))

    @property
    def control(self) -> Control:
        """How it is entered."""
        kind = self.schema.get("type")
        if kind == "array":
            each = self.schema.get("items", {})
            plain = each.get("type") in (*NUMBERS, "string")
            return "many" if self.choices else "list" if plain else "json"
        if kind == "object":
            texts = [one.get("type") == "string" for one in self.schema.get("patternProperties", {}).values()]
            return "labels" if texts and all(texts) else "json"
        if kind == "boolean":
            return "flag"
        return "choice" if self.choices else "text"

    @property
    def numeric(self) -> bool:
        return self.schema.get("type") in NUMBERS

    @property
    def takes(self) -> str:
        """Its values in words."""
        return values(self.schema) + (" or null" if self.nullable else "")

    @property
    def of(self) -> str:
        """`a model's id` or `a dataset's name or id` where its values are those."""
        return str(self.schema.get("x-values", ""))

    def read(self, given: Sequence[str]) -> Any:
        """The value of what a person entered.

        Args:
            given: the texts that the form has under its name; at least one is not empty.

        Returns:
            The value; a text that is none of the field stays a text, about which the schema's own check has a word.
        """
        if self.control == "many":
            return [one for one in given if one]
        text = given[-1].strip()
        if self.nullable and text == NULL:
            return None
        match self.control:
            case "labels":
                return dict(_label(line) for line in text.splitlines() if line.strip())
            case "list":
                return [read_scalar(part.strip(), self.schema["items"]) for part in text.split(",")]
            case "json":
                return _json(text)
            case _:
                return read_scalar(text, self.schema)

    def write(self, value: Any) -> list[str]:
        """The texts that `read` makes `value` of."""
        if self.control == "many" and isinstance(value, list):
            return [text_of(one) for one in value]
        if self.control == "labels" and isinstance(value, Mapping):
            return ["\n".join(f"{key}:{one}" for key, one in value.items())]
        if self.control == "list" and isinstance(value, list):
            return [", ".join(text_of(one) for one in value)]
        return [text_of(value)]


@dataclass(frozen=True)
class Group:
    """Fields that stand together: those of a section, or those of none."""

    name: str
    """Of the section; empty for fields of none."""
    meaning: str
    fields: tuple[Field, ...]
    optional: bool
    """Whether the section may be missing."""


@lru_cache(maxsize=32)
def groups_of(source: Source, without: frozenset[str] = frozenset()) -> tuple[Group, ...]:
    """The fields of a model by section, in the schema's order; those of no section are the first group.

    Args:
        source: the pydantic model.
        without: names of its own fields that the form has not.
    """
    root = schema_of(source)
    walk = Walk(root)
    single: list[Field] = []
    groups: list[Group] = []
    for name, part in root["properties"].items():
        if name in without:
            continue
        shape = walk.resolved(part)
        if "properties" not in shape:
            single.append(_field(walk, name, part, root))
            continue
        meaning = str(part.get("description") or shape.get("description", ""))
        fields = tuple(_inner(walk, f"{name}.", shape, _stated(part)))
        groups.append(Group(name, meaning, fields, optional=_nullable(part)))
    return (Group("", "", tuple(single), optional=False), *groups)


def _inner(walk: Walk, prefix: str, section: Schema, stated: Mapping[str, Any]) -> Iterator[Field]:
    for name, part in section["properties"].items():
        shape = walk.resolved(part)
        if "properties" in shape and not _nullable(part):  # one that may be null is entered as JSON
            yield from _inner(walk, f"{prefix}{name}.", shape, _stated(part))
        else:
            default = {"default": stated[name]} if name in stated else {}
            yield _field(walk, prefix + name, {**part, **default}, section)


def _field(walk: Walk, name: str, part: Schema, section: Schema) -> Field:
    shape = walk.resolved(part)
    required = name.rpartition(".")[2] in section.get("required", ())
    meaning = str(part.get("description") or shape.get("description", ""))
    return Field(name, shape, _nullable(part), required, part.get("default"), " ".join(meaning.split()))


def _stated(part: Schema) -> Mapping[str, Any]:
    """The default of a section, which wins over those of its fields."""
    default = part.get("default")
    return default if isinstance(default, Mapping) else {}


def _nullable(part: Schema) -> bool:
    return any(one.get("type") == "null" for one in part.get("anyOf", ()))


def read_scalar(text: str, schema: Schema) -> Any:
    """A text as the value that a schema takes: a number, a truth value, or the text itself where it is neither."""
    kind = schema.get("type")
    for choice in schema.get("enum", [schema["const"]] if "const" in schema else []):
        if text == text_of(choice):
            return choice
    if kind in NUMBERS:
        return _number(text)
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text


def _number(text: str) -> int | float | str:
    """`5`, `0.1`, `1e-3`; what is no finite number stays a text."""
    for number in (int, float):
        try:
            found = number(text)
        except ValueError:
            continue
        return found if math.isfinite(found) else text
    return text


def _label(line: str) -> tuple[str, str]:
    key, _, value = line.strip().partition(":")
    return key.strip(), value.strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def text_of(value: Any) -> str:
    """A value as a person writes it: `0.1`, `true`, `null`, `adder`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
