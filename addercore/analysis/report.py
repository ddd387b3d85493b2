"""The report of an analysis: a table, a verdict with its reasons, and a figure."""

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
    """One column. `spread` is the key of the value that is shown after ±; in the CSV it has a column of its own."""

    key: str
    title: str
    kind: Kind = "text"
    spread: str | None = None


def plain(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits; only very small ones get a power of ten."""
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
    """Rows of plain values by column key; a row may lack values."""

    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]

    def shown(self) -> tuple[Column, ...]:
        """The columns that have a value in at least one row."""
        return tuple(c for c in self.columns if any(row.get(c.key) is not None for row in self.rows))

    def cells(self) -> list[list[str]]:
        """The cells as text for people."""
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
        """The table as CSV, with full precision; accuracies are fractions, spreads have columns of their own."""
        keys = [key for c in self.shown() for key in (c.key, c.spread) if key is not None]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(keys)
        writer.writerows(["" if row.get(key) is None else row[key] for key in keys] for row in self.rows)
        return text.getvalue()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the paper's statement holds by the numbers (None: they cannot tell), and why."""

    text: str
    holds: bool | None
    reasons: list[str] = field(default_factory=list)
    comparisons: int = 0  # intervals of 95 % that were looked at

    def after(self, comparisons: int) -> "Verdict":
        """A copy that states how many comparisons were made, also in a last reason."""
        if comparisons == 0:
            return self
        return replace(self, reasons=[*self.reasons, comparisons_note(comparisons)], comparisons=comparisons)


@dataclass(frozen=True, slots=True)
class Report:
    """What a study reports. `draw` fills a matplotlib figure of `size` inches."""

    caption: str
    table: Table
    verdict: Verdict
    draw: "Callable[[Figure], None]"
    size: tuple[float, float] = (7.0, 4.0)
