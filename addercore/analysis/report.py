"""What an analysis says: a table, a verdict with its reasons, a picture."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from addercore.analysis.statistics import comparisons_note, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["text", "percent", "points", "count", "number", "times"]
MISSING: Final = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `spread` names the row's value that stands after ± (and in a column of its own in the CSV)."""

    key: str
    title: str
    kind: Kind = "text"
    spread: str | None = None


def plain(value: float, digits: int = 4) -> str:
    """A number in `digits` significant digits, with a power of ten only where it is very small; a true minus."""
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    whole = len(str(int(abs(value))))
    text = f"{value:,.0f}" if whole >= digits else f"{value:.{digits}g}"
    return text.replace("-", "−")


def _number(value: Any, kind: Kind) -> str:
    if value is None:
        return MISSING
    match kind:
        case "percent":
            return f"{100 * value:.2f}"
        case "points":
            return signed(100 * value)
        case "count":
            return f"{value:,.0f}"
        case "times":
            return f"{plain(value, 3)}×"
        case "number":
            return plain(value)
        case "text":
            return str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values by column key; what a row lacks is missing."""

    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]

    def shown(self) -> tuple[Column, ...]:
        """The columns that have a value in any row."""
        return tuple(c for c in self.columns if any(row.get(c.key) is not None for row in self.rows))

    def cells(self) -> list[list[str]]:
        """As a person reads them."""
        return [[self._cell(row, column) for column in self.shown()] for row in self.rows]

    @staticmethod
    def _cell(row: dict[str, Any], column: Column) -> str:
        text = _number(row.get(column.key), column.kind)
        spread = None if column.spread is None else row.get(column.spread)
        if spread is None or text == MISSING:
            return text
        kind: Kind = "percent" if column.kind == "points" else column.kind
        return f"{text} ± {_number(spread, kind)}"

    def markdown(self) -> str:
        columns = self.shown()
        lines = ["| " + " | ".join(c.title for c in columns) + " |"]
        lines.append("|" + "|".join("---" if c.kind == "text" else "---:" for c in columns) + "|")
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in self.cells()]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Every value in full, accuracies as fractions; spreads in columns of their own."""
        keys = [key for c in self.shown() for key in (c.key, c.spread) if key is not None]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(keys)
        writer.writerows(["" if row.get(key) is None else row[key] for key in keys] for row in self.rows)
        return text.getvalue()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Computed from the numbers: whether what the paper says holds here (None: not to be told), and why."""

    text: str
    holds: bool | None
    reasons: list[str] = field(default_factory=list)
    comparisons: int = 0  # intervals of 95 % that were looked at

    def after(self, comparisons: int) -> "Verdict":
        """The same with the number of comparisons that were made, and a reason that says what that means."""
        if comparisons == 0:
            return self
        return replace(self, reasons=[*self.reasons, comparisons_note(comparisons)], comparisons=comparisons)


@dataclass(frozen=True, slots=True)
class Report:
    """`draw` fills a figure of `size` inches."""

    caption: str
    table: Table
    verdict: Verdict
    draw: "Callable[[Figure], None]"
    size: tuple[float, float] = (7.0, 4.0)
