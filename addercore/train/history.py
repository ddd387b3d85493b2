"""All metric points of a run, in compact form, since each checkpoint has all of them."""

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch

from addercore.train.reports import MetricPoint

CHUNK: Final = 65_536  # points

Columns = tuple["np.ndarray[Any, np.dtype[np.int64]]", "np.ndarray[Any, np.dtype[np.float64]]"]
"""Rows (n, 4) of name's number, step, epoch, milliseconds since 1970, and n values: 40 bytes a point."""


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """The points up to one moment."""

    names: list[str]
    chunks: list[Columns]

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "rows": torch.from_numpy(np.concatenate([rows for rows, _ in self.chunks])),
            "values": torch.from_numpy(np.concatenate([values for _, values in self.chunks])),
        }


class History:
    """Points in order. Full chunks never change, so that a snapshot of a long history copies only the last chunk."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}  # of a name, in the order of first use
        self._full: list[Columns] = []
        self._rows, self._values = array("q"), array("d")  # the chunk that grows

    def __len__(self) -> int:
        return sum(len(values) for _, values in self._full) + len(self._values)

    def __iter__(self) -> Iterator[MetricPoint]:
        names = list(self._number)
        for rows, values in [*self._full, self._last()]:
            for (name, step, epoch, time_ms), value in zip(rows.tolist(), values.tolist(), strict=True):
                yield MetricPoint(names[name], step, epoch, value, time_ms)

    def add(self, points: Sequence[MetricPoint]) -> None:
        for p in points:
            self._rows.extend((self._number.setdefault(p.name, len(self._number)), p.step, p.epoch, p.time_ms))
            self._values.append(p.value)
        if len(self._values) >= CHUNK:
            self._full.append(self._last())
            self._rows, self._values = array("q"), array("d")

    def _last(self) -> Columns:
        """A copy of the last chunk, which still grows."""
        return np.array(self._rows, dtype=np.int64).reshape(-1, 4), np.array(self._values, dtype=np.float64)

    def names(self) -> list[str]:
        return sorted(self._number)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one series."""
        steps: list[int] = []
        found: list[float] = []
        number = self._number.get(name, -1)
        for rows, values in [*self._full, self._last()]:
            chosen = rows[:, 0] == number
            steps += rows[chosen, 1].tolist()
            found += values[chosen].tolist()
        return steps, found

    def snapshot(self) -> HistorySnapshot:
        return HistorySnapshot(list(self._number), [*self._full, self._last()])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._number = {name: index for index, name in enumerate(state["names"])}
        self._full = [(state["rows"].numpy(), state["values"].numpy())]
        self._rows, self._values = array("q"), array("d")

    def csv(self) -> str:
        """A table of name, step, epoch, value, time (RFC 3339, UTC)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "step", "epoch", "value", "time"])
        for p in self:
            writer.writerow([p.name, p.step, p.epoch, repr(p.value), _rfc3339(p.time_ms)])
        return text.getvalue()


@lru_cache(maxsize=16)
def _rfc3339(time_ms: int) -> str:
    """Cached: the points of a step share their time, and formatting it costs more than the rest of a row."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")
