"""The columns of a listing: which of them a terminal has room for, and a table of them in which no id wraps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.text import Text

from adderclient.command.terminal import console, plain, width_of_terminal
from adderclient.formats import DASH, text

T = TypeVar("T")
GAP = 2
"""Spaces between two columns."""
NARROWEST = 10
"""Characters that a column of text keeps at least when it is cut."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column of a listing."""

    name: str
    """As `--columns`, `--sort` and `--csv` call it."""
    value: Callable[[T], Any]
    """Of an item, for programs: a number, a text, a time."""
    shown: Callable[[T], str | Text] | None = None
    """How people read it; None: the value as text."""
    rank: int = 0
    """Importance: where the terminal is narrow the greatest rank goes first. 0 always stays."""
    right: bool = False
    """Whether it is aligned to the right."""
    cut: bool = False
    """Whether a narrow terminal may cut it (`…`). Ids and numbers are whole or not there."""
    extra: bool = False
    """Whether it is shown only when `--columns` names it."""
    heading: str | None = None
    """None: the name in capitals."""

    @property
    def title(self) -> str:
        """Its heading."""
        return plain(self.name.upper().replace("_", " ") if self.heading is None else self.heading)

    def cell(self, item: T) -> Text:
        """What people read, on one line."""
        found = text(self.value(item)) if self.shown is None else self.shown(item)
        if isinstance(found, Text):
            return found
        return Text(" ".join(plain(found).split()) if found.split() else "")


def table(columns: Sequence[Column[T]], items: Sequence[T], *, all_of_them: bool = False) -> None:
    """Prints items as a table.

    Args:
        columns: in the order in which they stand.
        items: a row each.
        all_of_them: no column is left out, even if the terminal is too narrow; else those that are empty are, and
            those for which there is no room.
    """
    screen = console()
    for line in lines(columns, items, width_of_terminal(screen), all_of_them=all_of_them):
        screen.print(line, soft_wrap=True)


def lines(
    columns: Sequence[Column[T]], items: Sequence[T], width: int | None, *, all_of_them: bool = False
) -> list[Text]:
    """The lines of `table` for a terminal so wide; None: as wide as it takes."""
    grid = [_Shown(column, [column.cell(item) for item in items]) for column in columns]
    if not all_of_them:
        grid = [one for one in grid if one.column.rank == 0 or not items or one.says_something]
        grid = _fitting(grid, width)
    _narrow(grid, width)
    return [_joined(one.line(at) for one in grid) for at in range(-1, len(items))]


class _Shown(Generic[T]):
    """A column with its cells and the width that it has."""

    def __init__(self, column: Column[T], cells: list[Text]) -> None:
        self.column = column
        self.cells = cells
        self.width = max([len(column.title), *(cell.cell_len for cell in cells)])
        self.least = min(self.width, max(NARROWEST, len(column.title))) if column.cut else self.width

    @property
    def says_something(self) -> bool:
        return any(cell.plain not in ("", DASH) for cell in self.cells)

    def line(self, at: int) -> Text:
        """The cell of a row, or the heading at -1, as wide as the column."""
        cell = Text(self.column.title, style="bold") if at < 0 else self.cells[at].copy()
        cell.truncate(self.width, overflow="ellipsis")
        missing = self.width - cell.cell_len
        if self.column.right:
            cell.pad_left(missing)
        else:
            cell.pad_right(missing)
        return cell


def _fitting(grid: list[_Shown[T]], width: int | None) -> list[_Shown[T]]:
    """Without the least important columns, until the others fit."""
    while width is not None and sum(one.least for one in grid) + GAP * (len(grid) - 1) > width:
        goes = max(grid, key=lambda one: one.column.rank)
        if goes.column.rank == 0:
            break
        grid = [one for one in grid if one is not goes]
    return grid


def _narrow(grid: Sequence[_Shown[T]], width: int | None) -> None:
    """Cuts the widest columns first, as far as it takes and they can be cut."""
    while width is not None and sum(one.width for one in grid) + GAP * (len(grid) - 1) > width:
        widest = max(grid, key=lambda one: (one.width - one.least > 0, one.width))
        if widest.width <= widest.least:
            return
        widest.width -= 1


def _joined(cells: Iterable[Text]) -> Text:
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    return line
