"""What is wrong with a configuration: every bad field with its place, and a sentence that says what would do.

`explain` is the one place that turns pydantic's errors into such sentences, for the library (`InvalidConfig`), for the
API's problem details, and for sweeps.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from addercore.config import schema
from addercore.config.schema import Source, Walk

Path = tuple[str | int, ...]

MOST_EXPLAINED: Final = 1000
"""Errors that are explained; the sender chooses how many a document has."""
MOST_ASKED: Final = 100
"""Errors that say which value was meant: to find it takes ten times as long as the rest of the sentence."""
MAX_SHOWN: Final = 60
"""Characters of a bad value that a sentence repeats; of longer values it says nothing."""

_OF_ITS_TYPE: Final = frozenset(
    {
        *("bool_type", "dict_type", "finite_number", "float_type", "int_from_float", "int_parsing_size", "int_type"),
        *("list_type", "literal_error", "model_type", "model_attributes_type", "string_type", "tuple_type"),
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    }
)
"""pydantic's errors that say no more than the field's schema does."""


_Schemas = tuple[schema.Schema | None, schema.Schema, schema.Schema | None]

_BOUNDS: Final = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
_TYPES: Final = {
    "int_": "an integer",
    "float_": "a number",
    "finite_": "a finite number",
    "bool_": "true or false",
    "string_pattern": "without characters that cannot be seen, such as NUL",
    "string_": "a text",
    "list_": "a list",
    "tuple_": "a list",
    "dict_": "an object",
    "model_": "an object",
}
"""In words, by the beginning of pydantic's error."""
_ONE_OF: Final = "must be one of "
_SUBJECT: Final = re.compile(r"^(Input|String|Value|Dictionary|List|Tuple|URL) should ")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field.

    Attributes:
        path: where it stands, from the outermost section inwards; a number is the place in a list.
        reason: what is wrong and what would do, as it goes on after the field's name: "must be > 0, got -1".
    """

    path: Path
    reason: str

    @property
    def field(self) -> str:
        """Its dotted name: `optimizer.lr`."""
        return ".".join(str(part) for part in self.path)

    @property
    def pointer(self) -> str:
        """Its JSON pointer (RFC 6901): `/optimizer/lr`."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.path)

    @property
    def detail(self) -> str:
        """A full sentence."""
        return f"{self.field} {self.reason}".strip()


class InvalidConfig(ValueError):
    """A configuration with one or more bad fields, all of them in `errors`."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(error.detail for error in errors))
        self.errors = tuple(errors)


def field_errors(errors: Iterable[tuple[str, str]]) -> PydanticCustomError:
    """One error of a validator that is about several fields.

    Args:
        errors: for each field its JSON pointer, relative to what is validated, and the reason as `FieldError` has it.
            A pointer that begins with `../` leads to a neighbour of the field that is validated.
    """
    found = list(errors)
    summary = "; ".join(f"{pointer}: {reason}" if pointer else reason for pointer, reason in found)
    return PydanticCustomError("field_errors", "{summary}", {"summary": summary, "errors": found})


def explain(
    error: ValidationError | Iterable[Mapping[str, Any]],
    of: Source | None = None,
    show: Callable[[Any], str] = repr,
) -> list[FieldError]:
    """Every bad field of a document that pydantic refused.

    Args:
        error: pydantic's exception, or its `errors()`.
        of: what the document was validated as; the sentences then list known fields and bounds. The tags of its unions
            are left out of the paths.
        show: writes a bad value as the reader would: Python's `repr`, or JSON.
    """
    items = list(error.errors(include_url=False) if isinstance(error, ValidationError) else error)[:MOST_EXPLAINED]
    root = None if of is None else schema.schema_of(of)
    found: list[FieldError] = []
    for item in items:
        if item["type"] != "too_short" or not _has_bad_entries(item["loc"], items):
            found += _explained(item, root, show, ask=len(found) < MOST_ASKED)
    return found


def _has_bad_entries(location: Path, items: Iterable[Mapping[str, Any]]) -> bool:
    """Of a list that pydantic calls too short: whether that is because it does not count bad entries."""
    return any(len(item["loc"]) > len(location) and item["loc"][: len(location)] == location for item in items)


def _explained(
    item: Mapping[str, Any], root: schema.Schema | None, show: Callable[[Any], str], ask: bool
) -> list[FieldError]:
    path, (document, outer, here) = _place(item["loc"], root)
    context = item.get("ctx") or {}
    match item["type"]:
        case "field_errors":
            return [FieldError(_joined(path, str(pointer)), str(why)) for pointer, why in context["errors"]]
        case "union_tag_invalid" | "union_tag_not_found":
            tag = str(context.get("discriminator", "'kind'")).strip("'")
            mapping = (here or {}).get("discriminator", {}).get("mapping", {})
            known = str(context.get("expected_tags", ", ".join(mapping))).replace("'", "")
            return [FieldError((*path, tag), f"must be one of {known}")]
        case "extra_forbidden":
            return [FieldError(path, _unknown(path, outer, document))]
        case "missing":
            listed = ", ".join((here or {}).get("enum", ()))
            return [FieldError(path, f"is required; known: {listed}" if listed else "is required")]
    reason, value = _reason(item, here), item.get("input")
    got = _got_a(value) if item["type"] in _OF_ITS_TYPE else ""
    return [FieldError(path, reason + (got or _got(value, show)) + (_asked(reason, value) if ask else ""))]


def _place(location: Iterable[str | int], root: schema.Schema | None) -> tuple[Path, _Schemas]:
    """The path that a location of pydantic means, and the schemas of the document, of what contains it, and its own."""
    parts = [part for part in location if part != "[key]"]
    if root is None:
        return tuple(parts), (None, {}, None)
    path: list[str | int] = []
    walk, document, outer = Walk(root), root, root
    for part in parts:
        before = walk.here or {}
        if walk.step(part):
            if not path:  # of several kinds of document, this one
                document = {**(walk.here or {}), "$defs": root.get("$defs", {})}
        else:
            path.append(part)
            outer = before
    return tuple(path), (document, outer, walk.here)


def _joined(path: Path, pointer: str) -> Path:
    """What a relative pointer of `field_errors` leads to."""
    first, *parts = pointer.split("/")
    base = path[:-1] if first == ".." else path
    return (*base, *(part.replace("~1", "/").replace("~0", "~") for part in parts))


def _reason(item: Mapping[str, Any], here: schema.Schema | None) -> str:
    kind, message, context = item["type"], str(item["msg"]), item.get("ctx") or {}
    if kind in ("too_short", "too_long"):
        bound, limit = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        amount = context[limit]
        has = context.get("actual_length")
        counted = f"{amount} {'entry' if amount == 1 else 'entries'}"
        return f"must have {bound} {counted}{'' if has is None else f', got {has}'}"
    if here and kind in _OF_ITS_TYPE:
        return f"must be {schema.values(here)}"
    return _in_words(kind, context) or _SUBJECT.sub("must ", message)


def _in_words(kind: str, context: Mapping[str, Any]) -> str | None:
    """What a value must be whose field has no schema at hand, as a query parameter's."""
    if kind in ("literal_error", "enum"):
        return f"must be one of {str(context['expected']).replace(' or ', ', ').replace(chr(39), '')}"
    bound = next(((sign, context[key]) for key, sign in _BOUNDS if key in context), None)
    if bound is not None:
        return f"must be {bound[0]} {bound[1]}"
    if kind in ("string_too_long", "string_too_short"):
        at, key = ("most", "max_length") if kind == "string_too_long" else ("least", "min_length")
        return f"must have at {at} {context[key]} {'character' if context[key] == 1 else 'characters'}"
    return next((f"must be {words}" for start, words in _TYPES.items() if kind.startswith(start)), None)


def _unknown(path: Path, outer: schema.Schema, document: schema.Schema | None) -> str:
    """Of a field that is none: which one was meant, and which there are."""
    known = list(outer.get("properties", ()))
    if document is None or not known:
        return "is not a field here; check its spelling, or remove it"
    where = ".".join(str(part) for part in path[:-1])
    last = str(path[-1])
    meant = schema.nearest(last, known)
    if meant is None and last != "name":  # most tools give everything a name
        everywhere = {name.rpartition(".")[2]: name for name in schema.fields(document)}
        elsewhere = schema.nearest(last, list(everywhere))
        meant = everywhere.get(elsewhere or "")
    elif where:
        meant = f"{where}.{meant}"
    asked = "" if meant is None else f" (did you mean {meant}?)"
    return f"is not a field{f' of {where}' if where else ''}{asked}; known: {', '.join(known)}"


def _asked(reason: str, value: Any) -> str:
    """Which of the values that a reason lists was meant, if that can be told."""
    if not isinstance(value, str) or len(value) > MAX_SHOWN or not reason.startswith(_ONE_OF):
        return ""
    meant = schema.nearest_value(value, reason.removeprefix(_ONE_OF).split(", "))
    return "" if meant is None else f" (did you mean {meant}?)"


def _got_a(value: Any) -> str:
    return next(
        (f", got {words}" for kind, words in ((list, "a list"), (dict, "an object")) if isinstance(value, kind)), ""
    )


def _got(value: Any, show: Callable[[Any], str]) -> str:
    """The bad value, where it is a short one and no object or list."""
    if not isinstance(value, str | int | float | bool | None):
        return ""
    shown = show(value)
    return f", got {shown}" if len(shown) <= MAX_SHOWN else ""
