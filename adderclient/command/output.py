"""Tables for people and JSON for programs on stdout; remarks and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeVar

from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from adderclient.command import columns
from adderclient.command.columns import Column
from adderclient.command.terminal import console, errors_console, plain, plain_json, width_of_terminal
from adderclient.download import Transfer
from adderclient.formats import text
from adderclient.records import Page

T = TypeVar("T")
LARGEST_PAGE = 100

STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "queued": "dim",
    "paused": "magenta",
}


def note(text: str) -> None:
    """A remark for people, on stderr."""
    errors_console().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """JSON on stdout, keys in the server's order."""
    sys.stdout.write(plain_json(json.dumps(value, indent=2, ensure_ascii=False, default=dict)) + "\n")


def print_list(items: Iterable[Mapping[str, Any]], more: bool = False, cursor: str | None = None) -> None:
    """A listing as JSON, in the envelope of the REST contract."""
    print_json({"data": [dict(item) for item in items], "has_more": more, "next": cursor})


def collect(
    fetch: Callable[[int, str | None], Page[T]], limit: int, after: str | None = None
) -> tuple[list[T], str | None]:
    """The first ``limit`` items of a listing, and the cursor to go on with where there are more.

    ``fetch`` gives the page of a size after a cursor.
    """
    found: list[T] = []
    while True:
        page = fetch(min(limit - len(found), LARGEST_PAGE), after)
        found += page
        if page.unreadable:
            note(f"The server cannot read {', '.join(page.unreadable)}: left out here; delete it, or ask its operator")
        after = page.next if page.has_more else None
        if after is None or len(found) >= limit:
            return found, after


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, all_of_them: bool = False) -> None:
    """A table of cells. Columns whose heading ends in ``>`` are right-aligned; where it is too narrow the last go."""
    made: list[Column[Sequence[Any]]] = []
    for at, heading in enumerate(headings):
        title = heading.rstrip(">")
        right = heading.endswith(">")
        made.append(Column(title, _getter(at), _shower(at), rank=at, right=right, cut=not right, heading=title))
    columns.table(made, rows, all_of_them=all_of_them)


def _getter(at: int) -> Callable[[Sequence[Any]], Any]:
    return lambda row: row[at]


def _shower(at: int) -> Callable[[Sequence[Any]], Text | str]:
    return lambda row: row[at] if isinstance(row[at], Text) else text(row[at])


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values below each other; what is None or empty is left out.

    Values are wrapped between words where the terminal is narrow; a word, such as an id, is never broken.
    """
    screen = console()
    width = width_of_terminal(screen)
    there = [(name, _cell(value)) for name, value in pairs if value not in (None, "", {}, (), [])]
    margin = max((len(name) for name, _ in there), default=0) + columns.GAP
    for name, cell in there:
        for at, line in enumerate(_wrapped(cell, None if width is None else width - margin)):
            title = Text(plain(name) if at == 0 else "", style="bold")
            shown = Text.assemble(title, " " * (margin - title.cell_len), line)
            shown.rstrip()
            screen.print(shown, soft_wrap=True)


def _wrapped(cell: Text, width: int | None) -> list[Text]:
    """The lines of a value, wrapped between words."""
    if width is None or ("\n" not in cell.plain and cell.cell_len <= width):
        return list(cell.split("\n"))
    room = max(width, columns.NARROWEST)
    parts = [
        wrap(line, room, break_long_words=False, break_on_hyphens=False, replace_whitespace=False) or [""]
        for line in cell.plain.split("\n")
    ]
    return [Text(part, style=cell.style) for lines in parts for part in lines]


def status(name: str) -> Text:
    """A status in its colour."""
    return Text(plain(name), style=STYLES.get(name, ""))


def _cell(value: Any) -> Text:
    return value if isinstance(value, Text) else Text(plain(text(value)))


class Bar:
    """Shows transfers as one bar a file."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[Path, int] = {}

    def __call__(self, transfer: Transfer) -> None:
        if transfer.path not in self._tasks:
            self._tasks[transfer.path] = self._bars.add_task(transfer.path.name, total=transfer.total)
        task = self._bars.tasks[self._tasks[transfer.path]].id
        self._bars.update(task, completed=transfer.received, total=transfer.total)


def transfer_bars() -> Bars:
    """Where bars of transfers are shown: on a terminal, and nowhere else."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Bars(*columns, console=errors_console(), disable=not sys.stderr.isatty(), transient=True)
