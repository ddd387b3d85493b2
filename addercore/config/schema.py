"""Reading JSON schemas: what stands at a path, how a field's values are described, which fields there are.

Error texts, the generated page `docs/specs.md` and the client's `--set` all describe a field by its schema.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from addercore.config.synonyms import FIELD_OF, meant_by

ALIKE: Final = 0.7
"""How much alike a value must be spelled to be meant (difflib's ratio): alexnt is alexnet, moons is not mnist."""
Schema = dict[str, Any]
Source = type[BaseModel] | TypeAdapter[Any]
"""What has a JSON schema."""

_BOUNDS: Final = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
_TYPES: Final = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "object": "an object",
    "null": "null",
}


@lru_cache(maxsize=64)
def schema_of(source: Source) -> Schema:
    """The JSON schema of what `source` takes, with `$defs`."""
    if isinstance(source, TypeAdapter):
        return source.json_schema()
    return source.model_json_schema()


class Walk:
    """A place in a schema; `step` goes on to a part, as far as the schema tells."""

    def __init__(self, root: Schema) -> None:
        self._definitions: dict[str, Schema] = root.get("$defs", {})
        self.here: Schema | None = self.resolved(root)

    def resolved(self, schema: Schema) -> Schema:
        """Without references; of a type or null, the type."""
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        return self.resolved(choices[0]) if len(choices) == 1 else schema

    def step(self, part: str | int) -> bool:
        """Goes on to `part`. True where it is the tag of a union, which is no part of a document."""
        here = self.here or {}
        mapping = here.get("discriminator", {}).get("mapping", {})
        if part in mapping:
            self.here = self.resolved({"$ref": mapping[part]})
            return True
        field = here.get("properties", {}).get(part) or _value(here)
        found = _entry(here, part) if isinstance(part, int) else field
        self.here = self.resolved(found) if isinstance(found, dict) else None
        return False


def _entry(schema: Schema, index: int) -> Any:
    first = schema.get("prefixItems", ())
    return first[index] if index < len(first) else schema.get("items")


def _value(schema: Schema) -> Any:
    """What an object's values are whose keys are free."""
    return next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))


def values(schema: Schema) -> str:
    """The values that a schema takes, as a phrase: "an integer ≥ 1 and ≤ 100000", "one of adder, conv"."""
    if "x-values" in schema:
        return str(schema["x-values"])
    if "enum" in schema or "const" in schema:
        known = [str(one) for one in schema.get("enum", [schema.get("const")])]
        return known[0] if len(known) == 1 else f"one of {', '.join(known)}"
    if "discriminator" in schema or "$ref" in schema:
        return "an object"
    kind = str(schema.get("type", ""))
    bounds = " and ".join(f"{sign} {schema[key]}" for key, sign in _BOUNDS if key in schema)
    if kind == "number" and bounds:
        return bounds
    if kind == "array":
        return _list(schema)
    return f"{_TYPES.get(kind, 'another value')}{f' {bounds}' if bounds else ''}"


def _list(schema: Schema) -> str:
    each = schema.get("items") or {}
    objects = "$ref" in each or "discriminator" in each  # what they may be, the field's description says
    one, more = ("object", "objects") if objects else ("entry", "entries")
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and least == most:
        size = f" of {least}"
    elif most is not None:
        size = f" of {least or 0} to {most} {more}"
    else:
        size = "" if least is None else f" of at least {least} {one if least == 1 else more}"
    return f"a list{size}{f', each {values(each)}' if each and not objects else ''}"


def fields(root: Schema) -> dict[str, Schema]:
    """All fields by their dotted names, a section before its own fields, each with its schema as it is written."""
    return dict(_fields(Walk(root), root, ""))


def _fields(walk: Walk, section: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    for name, part in section.get("properties", {}).items():
        yield prefix + name, part
        yield from _fields(walk, walk.resolved(part), f"{prefix}{name}.")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The name that was most likely meant: what another tool's name means, one with the same initials (learning_rate:
    lr), or one spelled much alike."""
    name = name.replace("-", "_").lower()
    if FIELD_OF.get(name) in known:
        return FIELD_OF[name]
    initials = _initials(name)
    for other in known:
        if name in (other, _initials(other)) or initials == other:
            return other
    return next(iter(get_close_matches(name, known, 1)), None)


def nearest_value(text: str, known: Sequence[str]) -> str | None:
    """The value that was most likely meant: one of the same letters and digits (LeNet-5-BN: lenet5_bn), what another
    tool's word means, one that begins so (lenet), or one spelled much alike."""
    bare = _bare(text)
    same = next((value for value in known if _bare(value) == bare), None)
    longer = next((value for value in known if len(bare) > 2 and _bare(value).startswith(bare)), None)
    return same or meant_by(bare, known) or longer or next(iter(get_close_matches(text.lower(), known, 1, ALIKE)), None)


def _bare(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _initials(name: str) -> str:
    words = [word for word in name.split("_") if word]
    return "".join(word[0] for word in words) if len(words) > 1 else name
