"""Workers, and whether the service is ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Found(Record):
    """An object whose id ends or begins with what was asked for."""

    id: str
    type: str = ""
    """``job``, ``model``, ``sweep`` or ``dataset``."""
    name: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Worker(Record):
    """A worker that is alive."""

    SUMMARY = ("id", "hostname", "state", "running", "slots", "device")

    id: str
    hostname: str = ""
    pid: int | None = None
    slots: int | None = None
    """Jobs that it can run side by side."""
    device: str = ""
    """The best kind that it has: ``cpu`` or ``cuda``."""
    devices: tuple[str, ...] = ()
    """Of each slot."""
    memory_mb: int | None = None
    """Memory that its jobs share, in MiB."""
    state: str = ""
    """``active``, ``draining``, or ``drained``: it claims nothing more and runs nothing."""
    draining: str | None = None
    """``finish`` or ``hand_over``: how it was asked to leave."""
    running: int = 0
    """Jobs that it owns."""
    info: Json = field(default_factory=dict)
    """Versions, threads, kernel backends and devices."""
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Readiness(Record):
    """Whether the service can run jobs."""

    ready: bool = False
    checks: Json = field(default_factory=dict)
    """``{ok, detail, required}`` of each part: database, broker, worker, inference."""
