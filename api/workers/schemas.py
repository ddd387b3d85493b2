"""Answers about workers."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas import Answer, Time
from jobs.states import Drain
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
    info: dict[str, Any]
    """Versions, threads, kernel backends and devices of this worker."""
    started_at: Time
    heartbeat_at: Time

    @classmethod
    def of(cls, row: WorkerRow, running: int) -> WorkerState:
        """The answer for a row. `running` is the number of its jobs."""
        state = "active" if row.draining is None else "draining" if running else "drained"
        own = {name: getattr(row, name) for name in cls.model_fields if name not in ("state", "running")}
        return cls.model_validate({**own, "state": state, "running": running})
