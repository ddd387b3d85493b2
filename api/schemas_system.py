"""What the API answers of the service itself: versions, workers, queue, health."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas import Answer, Time
from jobs.states import Drain
from jobs.tables import Worker as WorkerRow


class Versions(Answer):
    adderworks: str
    api: str
    python: str
    database: str


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


class Queue(Answer):
    depth: dict[str, int]
    """Number of jobs by status."""
    oldest_queued_seconds: float
    slots: int
    """Jobs that the live workers can run side by side."""


class System(Answer):
    versions: Versions
    workers: list[WorkerState]
    """Those that are alive."""
    devices: list[str]
    backends: list[str]
    """Kernel backends that some live worker offers."""
    queue: Queue


class Alive(Answer):
    status: Literal["ok"]


class Check(Answer):
    ok: bool
    detail: str
    required: bool


class Ready(Answer):
    """Whether jobs are accepted and run; inference is named but not required."""

    ready: bool
    checks: dict[Literal["database", "broker", "worker", "inference"], Check]
