"""Answers about workers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from api.schemas import Answer, Time
from jobs.states import Drain
from jobs.system_metrics import Sample, samples_of
from jobs.tables import Worker as WorkerRow


class WorkerState(Answer):
    """A worker that is alive."""

    id: str
    hostname: str
    pid: int
    slots: int
    """Jobs that it can run side by side."""
    device: str
    """The best kind it has: `cpu` or `cuda`."""
    devices: list[str]
    """The device of each slot: `cpu`, `cuda:1`."""
    memory_mb: int
    """Memory that its jobs share, in MiB."""
    state: Literal["active", "draining", "drained"]
    """A `draining` worker claims no further jobs; a `drained` one also runs none any more."""
    draining: Drain | None
    """The mode of its drain; null for a worker that claims jobs."""
    running: int
    """Jobs that it runs."""
    cpu: float | None
    """Cores that it and its jobs use, by its last sample; null before the first one."""
    memory_bytes: int | None
    """Memory that they use."""
    info: dict[str, Any]
    """Versions, threads, kernel backends and devices of this worker."""
    started_at: Time
    heartbeat_at: Time

    @classmethod
    def of(cls, row: WorkerRow, running: int) -> WorkerState:
        """The answer for a row. `running` is the number of its jobs."""
        state = "active" if row.draining is None else "draining" if running else "drained"
        own = {
            name: getattr(row, name)
            for name in cls.model_fields
            if name not in ("state", "running", "cpu", "memory_bytes")
        }
        samples = samples_of(row.stats)
        used = (samples[-1].cpu, samples[-1].memory_bytes) if samples else (None, None)
        return cls.model_validate({**own, "state": state, "running": running, "cpu": used[0], "memory_bytes": used[1]})


class WorkerSample(Answer):
    """What a worker and its jobs used in the time up to a moment."""

    time: Time
    cpu: float
    """Cores in use: CPU time by time."""
    memory_bytes: int
    """The most resident memory; what several processes share counts in each of them."""
    gpu: float | None
    """GPUs in use: the sum of the share of the time in which each computed; null without a GPU."""
    gpu_memory_bytes: int | None
    """Memory of the GPUs that was in use."""

    @classmethod
    def of(cls, sample: Sample) -> WorkerSample:
        return cls.model_validate(asdict(sample))
