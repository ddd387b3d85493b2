"""Workers, as the API answers them."""

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
    device: str
    """The best kind it has: `cpu` or `cuda`."""
    devices: list[str]
    """Of each slot."""
    memory_mb: int
    """Memory that its jobs share, in MiB."""
    state: Literal["active", "draining", "drained"]
    """`draining`: it claims nothing more; `drained`: and runs nothing any more."""
    draining: Drain | None
    """How it was asked to leave."""
    running: int
    """Jobs that it owns."""
    info: dict[str, Any]
    """Versions, threads, kernel backends and devices of this worker."""
    started_at: Time
    heartbeat_at: Time

    @classmethod
    def of(cls, row: WorkerRow, running: int) -> WorkerState:
        state = "active" if row.draining is None else "draining" if running else "drained"
        own = {name: getattr(row, name) for name in cls.model_fields if name not in ("state", "running")}
        return cls.model_validate({**own, "state": state, "running": running})
