"""One way to list: what each listing of the command takes (`--columns`, `--sort`, `--limit`, `--json`, `--csv`)."""

from __future__ import annotations

import csv
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import typer

from adderclient.command.app import After, AsJson, Url, connect
from adderclient.command.columns import Column, table
from adderclient.command.errors import UsageError
from adderclient.command.output import LARGEST_PAGE, collect, note, print_list
from adderclient.command.terminal import plain
from adderclient.command.web import OnTheWeb, open_page
from adderclient.records import Page

T = TypeVar("T")
EVERYTHING = 10**9
"""A limit that no listing reaches."""


class Order(StrEnum):
    """Directions of a list."""

    asc = "asc"
    desc = "desc"


@dataclass
class Request:
    """What the shared options ask of a listing."""

    sort: str | None
    order: Order | None
    limit: int | None
    after: str | None
    by_server: bool
    """Whether the server sorts."""
    as_csv: bool
    as_json: bool
    cursor: str | None = field(default=None, init=False)
    """Where the server's listing goes on, once it has been read."""

    def read(self, fetch: Callable[[int, str | None], Page[T]]) -> list[T]:
        """The pages that are needed: all of them where they are sorted here."""
        if self.sort is not None and not self.by_server:
            found, _ = collect(fetch, EVERYTHING, self.after)
            return found
        found, self.cursor = collect(fetch, self.limit or LARGEST_PAGE, self.after)
        return found


@dataclass(frozen=True)
class Listed(Generic[T]):
    """What a listing found."""

    items: Sequence[T]
    columns: Sequence[Column[T]]
    notes: Sequence[str] = ()
    """Remarks for people below the table."""
    column_named: Callable[[str], Column[T] | None] = lambda _: None
    """Makes a column that only some items have, such as a metric, of what `--columns` says."""
    raw: Callable[[T], Mapping[str, Any]] = lambda item: item.raw  # type: ignore[attr-defined]
    """The JSON object of an item."""


Columns = Annotated[
    str | None, typer.Option("--columns", metavar="NAMES", help="Only these, with commas between; `all` is every one.")
]
Sort = Annotated[str | None, typer.Option("--sort", metavar="COLUMN", help="By this column; empty values last.")]
InOrder = Annotated[Order | None, typer.Option("--order", help="Direction.", show_default="asc")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV on stdout: numbers as they are, shares from 0 to 1.")]
SHARED: dict[str, tuple[Any, Any]] = {
    "columns": (Columns, None),
    "sort": (Sort, None),
    "order": (InOrder, None),
    "limit": (Limit, None),
    "after": (After, None),
    "url": (Url, None),
    "as_csv": (AsCsv, False),
    "as_json": (AsJson, False),
    "web": (OnTheWeb, False),
}
"""The options that `listing` gives a command, each with its type and default."""


def listing(
    *, limit: int | None = None, paged: bool = True, page: str | None = None, server: bool = True, **types: Any
) -> Callable[[Callable[..., Listed[Any]]], Callable[..., None]]:
    """Makes a command of a function that lists.

    Args:
        limit: rows unless ``--limit`` says otherwise; None: all.
        paged: whether the server gives it in pages, so that it takes ``--after``.
        page: path of the dashboard's page about the same, for ``--web``.
        server: whether a server is asked.
        types: other types of shared options, such as a ``sort`` that the server does.

    Returns:
        What turns ``function(client, request, **options)`` into the command.
    """
    left_out = {name for name, there in (("after", paged), ("web", page), ("url", server)) if not there}
    shared = {name: (types.get(name, type_), default) for name, (type_, default) in SHARED.items()}
    shared = {name: one for name, one in shared.items() if name not in left_out}
    shared["limit"] = (shared["limit"][0], limit)

    def command_of(function: Callable[..., Listed[Any]]) -> Callable[..., None]:
        @wraps(function)
        def command(**options: Any) -> None:
            given = {name: options.pop(name) for name in list(shared)}
            output = _Output(given["columns"], given["as_csv"], given["as_json"])
            request = Request(
                sort=given["sort"],
                order=given["order"],
                limit=given["limit"],
                after=given.get("after"),
                by_server="sort" in types,
                as_csv=given["as_csv"],
                as_json=given["as_json"],
            )
            if given.get("web"):
                open_page(given["url"], str(page))
            elif server:
                with connect(given["url"]) as client:
                    output.print(function(client, request, **options), request)
            else:
                output.print(function(None, request, **options), request)

        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[2:]
        parameters = [one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY) for one in own]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=type_)
            for name, (type_, default) in shared.items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        del command.__wrapped__
        return command

    return command_of


class _Output:
    """A table, JSON or CSV."""

    def __init__(self, columns: str | None, as_csv: bool, as_json: bool) -> None:
        if as_csv and as_json:
            raise UsageError("--csv and --json exclude each other")
        self.named = tuple(name.strip() for name in (columns or "").split(",") if name.strip())
        if columns is not None and not self.named:
            raise UsageError("--columns takes names with commas between them; `all` is every column")
        self._as_csv = as_csv
        self._as_json = as_json

    def print(self, listed: Listed[T], request: Request) -> None:
        chosen = self._chosen(listed)
        items = _sorted(listed, request)
        more = request.cursor is not None or len(items) > (request.limit or EVERYTHING)
        items = items[: request.limit]
        if self._as_json:
            objects = ({one.name: _json(one.value(item)) for one in chosen} for item in items)
            print_list(objects if self.named else map(listed.raw, items), more, request.cursor)
        elif self._as_csv:
            _print_csv(chosen if self.named else listed.columns, items)
        else:
            table(chosen, items, all_of_them=bool(self.named))
            for remark in listed.notes:
                note(remark)
            if more and request.limit is not None:
                or_after = "" if request.cursor is None else f", or --after {request.cursor}"
                note(f"There are more: --limit {request.limit * 2}{or_after}")

    def _chosen(self, listed: Listed[T]) -> list[Column[T]]:
        if not self.named:
            return [column for column in listed.columns if not column.extra]
        if self.named == ("all",):
            return list(listed.columns)
        return [_column(listed, name) for name in self.named]


def _column(listed: Listed[T], name: str) -> Column[T]:
    known = {column.name: column for column in listed.columns}
    found = known.get(name.lower()) or listed.column_named(name)
    if found is None:
        raise UsageError(f"there is no column {name!r}; there are: {', '.join(known)}")
    return found


def _sorted(listed: Listed[T], request: Request) -> list[T]:
    """The items as `--sort` wants them, where the server has not done it; those without a value are last."""
    items = list(listed.items)
    if request.by_server:
        return items
    if request.sort is None:
        if request.order is not None:
            raise UsageError("--order says the direction of --sort: add --sort, or leave it out")
        return items
    value = _column(listed, request.sort).value
    rest = [item for item in items if value(item) in (None, "")]
    there = [item for item in items if value(item) not in (None, "")]
    there.sort(key=lambda item: _comparable(value(item)), reverse=request.order is Order.desc)
    return there + rest


def _comparable(value: Any) -> tuple[int, Any]:
    """Numbers before texts: a column may have both."""
    if isinstance(value, bool | int | float):
        return 0, value
    if isinstance(value, datetime):
        return 1, value.timestamp()
    return 2, _text(value).casefold()


def _print_csv(columns: Sequence[Column[T]], items: Sequence[T]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([plain(column.name) for column in columns])
    writer.writerows([_text(column.value(item)) for column in columns] for item in items)


def _json(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _text(value: Any) -> str:
    """A value for programs that read text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool | Mapping | list | tuple):
        return plain(json.dumps(_json(value), ensure_ascii=False, default=str))
    return str(_json(value))
