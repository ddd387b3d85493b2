"""A spec as a form and back: only what was entered, so that all else keeps its default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from api.new.fields import Field, Group, Pairs

MISSING: Any = object()
SECTION_ON = "on"
"""The value under the name of an optional section that shall be there."""


def fields_in(groups: Iterable[Group]) -> Iterator[Field]:
    for group in groups:
        yield from group.fields


def given(pairs: Pairs, name: str) -> bool:
    """Whether anything was entered under this name."""
    return any(value.strip() for value in pairs.get(name, ()))


def document_of(groups: Sequence[Group], pairs: Pairs) -> dict[str, Any]:
    """What the form says, as a document. Optional sections are there where they are ticked or a field is filled."""
    document: dict[str, Any] = {}
    for group in groups:
        if group.optional and SECTION_ON in pairs.get(group.name, ()):
            document[group.name] = {}
        for field in group.fields:
            if given(pairs, field.name):
                put(document, field.path, field.read(pairs[field.name]))
    return document


def pairs_of(groups: Sequence[Group], document: Mapping[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """A document as the form shows it.

    Returns:
        The form's values by name; and the dotted names of what the document has and the form has not.
    """
    pairs: dict[str, list[str]] = {}
    known: set[str] = set()
    for group in groups:
        section = document.get(group.name) if group.name else None
        if group.optional and section is None:
            known.add(group.name)
        elif group.optional and isinstance(section, Mapping):
            pairs[group.name] = [SECTION_ON]
        for field in group.fields:
            known.add(field.name)
            value = at(document, field.path)
            if value is not MISSING:
                pairs[field.name] = field.write(value)
    sections = {group.name for group in groups if group.name}
    return pairs, [name for name in _leaves(document, known, sections, "") if name not in known]


def _leaves(value: Mapping[str, Any], known: set[str], sections: set[str], prefix: str) -> Iterator[str]:
    for name, inner in value.items():
        full = prefix + name
        open_ = any(one.startswith(f"{full}.") for one in known) or full in sections
        if full not in known and open_ and isinstance(inner, Mapping):
            yield from _leaves(inner, known, sections, f"{full}.")
        else:
            yield full


def at(document: Any, path: Sequence[str]) -> Any:
    """What stands at a path; MISSING where nothing does."""
    for part in path:
        if not isinstance(document, Mapping) or part not in document:
            return MISSING
        document = document[part]
    return document


def put(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Writes a value, with the objects above it."""
    *parents, last = path
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def without(document: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """A copy without what stands at a path, and without objects that are empty then."""
    copy = dict(document)
    first, *rest = path
    if rest and isinstance(copy.get(first), Mapping):
        copy[first] = without(copy[first], rest)
        if not copy[first]:
            del copy[first]
    elif not rest:
        copy.pop(first, None)
    return copy


def field_of(pointer: str, names: Iterable[str]) -> str | None:
    """The name of the field that a problem's JSON pointer leads into; None where the form has no such field."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.strip("/").split("/")]
    known = set(names)
    dotted = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in dotted if name in known), None)
