"""What the processes of a job or of a worker use, over time: how it is named and kept.

A job's samples are points among its metrics, under the names below. Their `step` counts the seconds since the job first
began, and their `epoch` is 0. Who reads all metrics of a job does not get them: they differ from run to run. A worker's
are in its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

CPU: Final = "system/cpu"
"""Cores in use: CPU time by time."""
MEMORY: Final = "system/memory_bytes"
"""Resident memory. What several processes share counts in each of them."""
GPU: Final = "system/gpu"
"""GPUs in use: the sum, over the job's GPUs, of the share of the time in which each computed, for whichever job."""
GPU_MEMORY: Final = "system/gpu_memory_bytes"
"""Memory of these GPUs that is in use, likewise."""
NAMES: Final = (CPU, MEMORY, GPU, GPU_MEMORY)


@dataclass(frozen=True)
class Sample:
    """What some processes used in the time up to a moment."""

    time: int
    """The moment, in milliseconds since 1970."""
    cpu: float
    memory_bytes: int
    gpu: float | None = None
    """None where there is no GPU."""
    gpu_memory_bytes: int | None = None

    def values(self) -> dict[str, float]:
        """By the names of metrics, without those that it has not."""
        named = zip(NAMES, (self.cpu, self.memory_bytes, self.gpu, self.gpu_memory_bytes), strict=True)
        return {name: float(value) for name, value in named if value is not None}


def points_of(sample: Sample, began_ms: int) -> list[dict[str, Any]]:
    """The sample as points of a job's metrics, of a job that first began at `began_ms`."""
    step = max(0, sample.time - began_ms) // 1000
    return [
        {"name": name, "step": step, "epoch": 0, "value": value, "time": sample.time}
        for name, value in sample.values().items()
    ]


def stored(samples: Sequence[Sample]) -> list[list[float | None]]:
    """The samples as JSON, for the row of a worker."""
    return [list(astuple(sample)) for sample in samples]


def samples_of(stats: Mapping[str, Any]) -> list[Sample]:
    """The samples in what a worker reported, oldest first; none of a worker of an older version."""
    return [Sample(*row) for row in stats.get("samples", ())]
