"""Every metric point of a run, kept compactly so that a checkpoint carries all of them."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from addercore.train.callbacks import MetricPoint


class History:
    """Points in order; columns of numbers in a checkpoint."""

    def __init__(self) -> None:
        self._points: list[MetricPoint] = []

    def __iter__(self) -> Iterator[MetricPoint]:
        return iter(self._points)

    def add(self, points: Sequence[MetricPoint]) -> None:
        self._points.extend(points)

    def series(self, name: str) -> list[MetricPoint]:
        return [point for point in self._points if point.name == name]

    def state_dict(self) -> dict[str, Any]:
        names = sorted({point.name for point in self._points})
        number = {name: index for index, name in enumerate(names)}
        rows = [(number[p.name], p.step, p.epoch, p.time_ms) for p in self._points]
        return {
            "names": names,
            "rows": torch.tensor(rows, dtype=torch.int64).view(-1, 4),
            "values": torch.tensor([p.value for p in self._points], dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        names = state["names"]
        self._points = [
            MetricPoint(names[name], step, epoch, value, time_ms)
            for (name, step, epoch, time_ms), value in zip(
                state["rows"].tolist(), state["values"].tolist(), strict=True
            )
        ]

    def csv(self) -> str:
        """A table of name, step, epoch, value, time (RFC 3339, UTC)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "step", "epoch", "value", "time"])
        for p in self._points:
            time = datetime.fromtimestamp(p.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
            writer.writerow([p.name, p.step, p.epoch, repr(p.value), time.replace("+00:00", "Z")])
        return text.getvalue()
