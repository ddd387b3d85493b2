"""The results of a sweep as a table: a row for each combination, over its seeds if the grid has several."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.states import TrialStatus
from jobs.sweeps.planning import Parameters
from jobs.sweeps.repository import shown_status
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Trial

SEED = "seed"


@dataclass(frozen=True)
class Row:
    parameters: Parameters
    """Without the seed where rows are over seeds."""
    trials: tuple[int, ...]
    values: tuple[float, ...]
    """The objective of those that succeeded."""
    states: tuple[str, ...]
    """Of each trial."""

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the sample (n − 1); None for fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Table:
    fields: tuple[str, ...]
    over_seeds: bool
    objective: str
    direction: str
    rows: tuple[Row, ...]

    @property
    def best(self) -> int | None:
        """Index of the row with the best mean; the first one of equals."""
        found = [(row.mean, at) for at, row in enumerate(self.rows) if row.mean is not None]
        if not found:
            return None
        sign = -1 if self.direction == "maximize" else 1
        return min(found, key=lambda pair: (sign * pair[0], pair[1]))[1]


def tabulate(spec: SweepSpec, trials: Iterable[tuple[Trial, str | None]]) -> Table:
    """Rows in order of their first trial.

    Args:
        trials: each with the status of its job, as `repository.trials_of` gives them.
    """
    over_seeds = spec.grid is not None and SEED in spec.grid
    fields = tuple(name for name in spec.fields if not (over_seeds and name == SEED))
    groups: dict[str, list[tuple[Trial, TrialStatus]]] = {}
    for trial, job_status in trials:
        mine = {name: trial.parameters.get(name) for name in fields}
        groups.setdefault(json.dumps(mine) if over_seeds else str(trial.number), []).append(
            (trial, shown_status(trial, job_status))
        )
    rows = tuple(_row(fields, group) for group in groups.values())
    return Table(fields, over_seeds, spec.objective, spec.direction, rows)


def _row(fields: Sequence[str], group: Sequence[tuple[Trial, TrialStatus]]) -> Row:
    first, _ = group[0]
    return Row(
        {name: first.parameters.get(name) for name in fields},
        tuple(trial.number for trial, _ in group),
        tuple(t.value for t, status in group if status == TrialStatus.SUCCEEDED and t.value is not None),
        tuple(status for _, status in group),
    )


def as_json(table: Table) -> dict[str, Any]:
    return {
        "objective": table.objective,
        "direction": table.direction,
        "over_seeds": table.over_seeds,
        "fields": list(table.fields),
        "best": table.best,
        "rows": [
            {
                "parameters": row.parameters,
                "trials": list(row.trials),
                "states": list(row.states),
                "n": len(row.values),
                "mean": row.mean,
                "std": row.std,
            }
            for row in table.rows
        ],
    }


def as_csv(table: Table) -> str:
    """A line for each row; numbers in full."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([*table.fields, "trials", "n", f"{table.objective} mean", f"{table.objective} std"])
    for row in table.rows:
        cells = [shown(row.parameters[name]) for name in table.fields]
        numbers = ["" if value is None else repr(value) for value in (row.mean, row.std)]
        writer.writerow([*cells, " ".join(map(str, row.trials)), len(row.values), *numbers])
    return buffer.getvalue()


def as_markdown(table: Table) -> str:
    """The best row in bold."""
    head = [*table.fields, *(["n"] if table.over_seeds else ["trial"]), heading(table)]
    lines = ["| " + " | ".join(map(_cell, head)) + " |", "|" + "---|" * len(head)]
    for at, row in enumerate(table.rows):
        count = str(len(row.values)) if table.over_seeds else str(row.trials[0])
        cells = [*(shown(row.parameters[name]) for name in table.fields), count, result(table, row)]
        if at == table.best:
            cells = [f"**{cell}**" for cell in map(_cell, cells)]
        lines.append("| " + " | ".join(cells if at == table.best else map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def heading(table: Table) -> str:
    unit = ", %" if is_share(table.objective) else ""
    return f"{table.objective}{unit}" + (" (mean ± std over seeds)" if table.over_seeds else "")


def result(table: Table, row: Row) -> str:
    """An accuracy in per cent (`98.61 ± 0.21`), another number with four digits, or why there is no value."""
    if row.mean is None:
        return ", ".join(dict.fromkeys(row.states))
    if not is_share(table.objective):
        return f"{row.mean:.4g}" + ("" if row.std is None else f" ± {row.std:.2g}")
    return f"{100 * row.mean:.2f}" + ("" if row.std is None else f" ± {100 * row.std:.2f}")


def is_share(name: str) -> bool:
    """Whether a metric reads best in per cent."""
    return name.endswith("accuracy")


def shown(value: Any) -> str:
    """A parameter's value as text for people."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
