"""Answers about the service itself: versions, workers, queue, readiness."""

from __future__ import annotations

from typing import Literal

from api.schemas import Answer
from api.workers.schemas import WorkerState


class Versions(Answer):
    """Versions of the API process; `database` names the kind of database."""

    adderworks: str
    api: str
    python: str
    database: str


class Queue(Answer):
    """The jobs, by status, and the slots that run them."""

    depth: dict[str, int]
    """Number of jobs by status."""
    oldest_queued_seconds: float
    """How long the oldest queued job has waited; 0 for an empty queue."""
    slots: int
    """Jobs that the live workers can run side by side."""


class System(Answer):
    """The state of the service."""

    versions: Versions
    workers: list[WorkerState]
    """The live workers."""
    devices: list[str]
    """Kinds of device that some live worker has."""
    backends: list[str]
    """Kernel backends that some live worker has."""
    queue: Queue


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"]


class Check(Answer):
    """The state of one part of the service."""

    ok: bool
    detail: str
    required: bool


class Ready(Answer):
    """Whether jobs are accepted and run. The inference process is checked but not required."""

    ready: bool
    checks: dict[Literal["database", "broker", "worker", "inference"], Check]

    def without_details(self) -> Ready:
        """The same for people without a key: which parts answer, and nothing about them."""
        return Ready(
            ready=self.ready,
            checks={
                name: Check(ok=one.ok, detail="well" if one.ok else "not well", required=one.required)
                for name, one in self.checks.items()
            },
        )
