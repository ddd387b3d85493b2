"""A job's metrics as a table of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Self

from adderclient import plotting
from adderclient.records import MetricPoint
from adderclient.records.shown import items_table

COLUMNS = tuple(one.name for one in fields(MetricPoint) if one.name != "raw")
ROWS_SHOWN = 10


class MetricTable(dict[str, list[Any]]):
    """Metrics as columns of one length: ``seq, name, step, epoch, value, time``, a row for each point.

    It is a dict of lists, so ``pandas.DataFrame(table)`` and ``polars.DataFrame(table)`` take it as it is. ``value`` is
    None where the training computed no number; accuracies are shares from 0 to 1, times are UTC.
    """

    @classmethod
    def of(cls, points: Iterable[MetricPoint]) -> Self:
        """Makes a table.

        Args:
            points: its rows.

        Returns:
            The table.

        Raises:
            AttributeError: one of them is no point.
        """
        rows = [*points]
        return cls({name: [getattr(point, name) for point in rows] for name in COLUMNS})

    @property
    def rows(self) -> int:
        """Number of points; ``len(table)`` is the number of columns."""
        return len(self["seq"])

    @property
    def names(self) -> list[str]:
        """Names of the metrics, in the order of their first points."""
        return [*dict.fromkeys(self["name"])]

    def only(self, *names: str) -> Self:
        """Keeps the points of some metrics.

        Args:
            names: which ones.

        Returns:
            Another table; without rows where it has none of them.

        Raises:
            KeyError: a column was taken away.
        """
        kept = [at for at, name in enumerate(self["name"]) if name in names]
        return type(self)({column: [values[at] for at in kept] for column, values in self.items()})

    def last(self) -> dict[str, float | None]:
        """Picks the newest value of each metric.

        Returns:
            The values by the metrics' names.

        Raises:
            KeyError: a column was taken away.
        """
        return dict(zip(self["name"], self["value"], strict=True))

    def plot(self, *, axes: Sequence[Any] | None = None, label: str | None = None) -> list[Any]:
        """Draws the metrics over the steps with matplotlib, those of one kind into one picture.

        Args:
            axes: matplotlib axes to draw into, such as an earlier call returned; None: new ones.
            label: stands before the names in the legend; None: the names alone.

        Returns:
            The axes, one for each kind of metric.

        Raises:
            AdderClientError: matplotlib is not installed, there is nothing to draw, or the axes are too few.
        """
        series = {}
        for name in self.names:
            one = self.only(name)
            series[name] = (one["step"], one["value"])
        return plotting.curves(series, axes, label)

    def __repr__(self) -> str:
        return f"MetricTable({self.rows} points of {', '.join(self.names) or 'nothing'})"

    def _repr_html_(self) -> str:
        count = min(self.rows, ROWS_SHOWN)
        rows = [{name: self[name][at] for name in COLUMNS} for at in range(count)]
        return items_table(rows, more=self.rows > count)
