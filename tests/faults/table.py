"""The table: a row for each fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean

HEADER = ("fault", "tried", "confirmed", "jobs", "lost", "duplicated", "mean recovery", "identical")


@dataclass
class Row:
    fault: str
    tried: int = 0
    confirmed: int = 0
    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    compared: int = 0
    alike: int = 0
    recoveries_ms: list[int] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    missed: int = 0
    """Attempts that were lost although nothing was done to them: a busy machine missed their lease."""
    skipped: str = ""
    seconds: float = 0.0

    @property
    def green(self) -> bool:
        """Nothing is wrong; a fault that this machine cannot cause says so and counts as neither."""
        return bool(self.skipped) or not (self.lost or self.duplicated or self.different or self.unconfirmed)

    @property
    def cells(self) -> tuple[str, ...]:
        if self.skipped:
            return (self.fault, "–", "–", "–", "–", "–", "–", f"skipped: {self.skipped}")
        recovery = f"{mean(self.recoveries_ms) / 1000:.1f} s" if self.recoveries_ms else "–"
        identical = f"{100 * self.alike / self.compared:.0f} %" if self.compared else "–"
        counts = (self.tried, self.confirmed, self.jobs, len(self.lost), len(self.duplicated))
        return (self.fault, *map(str, counts), recovery, identical)

    @property
    def sentences(self) -> list[str]:
        return [
            *(f"not confirmed: {text}" for text in self.unconfirmed),
            *(f"lost: {text}" for text in self.lost),
            *(f"duplicated: {text}" for text in self.duplicated),
            *(f"not identical: {text}" for text in self.different),
        ]


def total(rows: Sequence[Row]) -> Row:
    """All rows as one."""
    done = [row for row in rows if not row.skipped]
    whole = Row("all")
    for row in done:
        for name in ("tried", "confirmed", "jobs", "compared", "alike", "missed"):
            setattr(whole, name, getattr(whole, name) + getattr(row, name))
        for name in ("lost", "duplicated", "different", "unconfirmed", "recoveries_ms"):
            getattr(whole, name).extend(getattr(row, name))
    return whole


def text(rows: Sequence[Row]) -> str:
    lines = [HEADER, *(row.cells for row in (*rows, total(rows)))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell to the left, the others to the right."""
    numbers = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
    return "  ".join((line[0].ljust(widths[0]), *numbers))


def markdown(rows: Sequence[Row]) -> str:
    """The table as the docs show it."""
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *(row.cells for row in (*rows, total(rows)))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
