"""What the API answers of the service itself: versions, workers, queue, health."""

from __future__ import annotations

from typing import Literal

from api.schemas import Answer
from api.workers.schemas import WorkerState


class Versions(Answer):
    adderworks: str
    api: str
    python: str
    database: str


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
