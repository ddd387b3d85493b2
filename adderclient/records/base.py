"""How a JSON object of the contract becomes a frozen dataclass, and a listing a page of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin, get_type_hints

from adderclient.records.shown import fields_table, items_table, one_line

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """An object of the contract. Each field has the name and, in Python, the type that the server gives it.

    Its `repr` is one line with what tells it from others; a notebook shows a table of all its fields.

    A newer server may send more: all that it sends is in ``raw``. A field that is missing or null has its default,
    which is None, or empty for texts, objects and lists that are never null.
    """

    raw: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON object as it came."""
    SUMMARY: ClassVar[tuple[str, ...]] = ()
    """Fields that tell it from others; empty: all."""

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Reads an object of the contract.

        Args:
            data: the JSON object.

        Returns:
            The record, with ``data`` as its ``raw``.

        Raises:
            KeyError: a field without which the record means nothing, such as ``id``, is missing.
        """
        values: dict[str, Any] = {"raw": data}
        if cls not in _FIELDS:
            _FIELDS[cls] = _fields_of(cls)
        for name, parse, required in _FIELDS[cls]:
            value = data[name] if required else data.get(name)
            parsed = None if value is None else parse(value)
            if parsed is not None:
                values[name] = parsed
        return cls(**values)

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self._filled(self.SUMMARY))

    def _repr_html_(self) -> str:
        return fields_table(type(self).__name__, self._filled(()))

    def _filled(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The fields of these names, or all of them, that have a value."""
        found = {name: getattr(self, name) for name in names or (one.name for one in fields(self)) if name != "raw"}
        return {name: value for name, value in found.items() if value not in (None, "", (), {})}


Field = tuple[str, Callable[[Any], Any], bool]
"""Of a field that the server sends: its name, its parser, and whether it is required."""
_FIELDS: dict[type[Record], list[Field]] = {}


def _fields_of(record: type[Record]) -> list[Field]:
    hints = get_type_hints(record)
    return [
        (one.name, _parser(hints[one.name]), one.default is MISSING and one.default_factory is MISSING)
        for one in fields(record)
        if one.name != "raw"
    ]


def _parser(hint: Any) -> Callable[[Any], Any]:
    """What turns a JSON value into one of the type ``hint``."""
    if isinstance(hint, UnionType):
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    kind = get_origin(hint) or hint
    if kind is datetime:
        return datetime.fromisoformat
    if kind is tuple:
        parse = _parser(get_args(hint)[0])
        return lambda value: tuple(parse(item) for item in value)
    if kind is Mapping:
        return lambda value: value if isinstance(value, Mapping) else {}
    if issubclass(kind, Record):
        return lambda value: kind.from_json(value) if isinstance(value, Mapping) else None
    parse_scalar: Callable[[Any], Any] = kind
    return parse_scalar


@dataclass(frozen=True, repr=False)
class Page(Generic[T]):
    """A part of a listing, newest first. It is iterable and has a length."""

    data: tuple[T, ...]
    has_more: bool = False
    """Whether the listing goes on after this part."""
    next: str | None = None
    """The cursor of the following part: pass it as ``after``."""
    unreadable: tuple[str, ...] = ()
    """Ids of objects that belong here and that the server cannot read; each can be deleted."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON object as it came."""

    @classmethod
    def from_json(cls, data: Json, parse: Callable[[Json], T]) -> Page[T]:
        """Reads a listing.

        Args:
            data: its JSON object.
            parse: reads one of its items.

        Returns:
            The page.
        """
        cursor = data.get("next")
        return cls(
            data=tuple(parse(item) for item in data.get("data", [])),
            has_more=bool(data.get("has_more")),
            next=None if cursor is None else str(cursor),
            unreadable=tuple(map(str, data.get("unreadable") or ())),
            raw=data,
        )

    def __iter__(self) -> Iterator[T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        kind = type(self.data[0]).__name__ if self.data else ""
        return f"Page({len(self)} × {kind}, has_more={self.has_more})" if kind else "Page(empty)"

    def _repr_html_(self) -> str:
        rows = [item._filled(item.SUMMARY) for item in self.data if isinstance(item, Record)]
        return items_table(rows, more=self.has_more)
