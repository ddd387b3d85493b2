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
    cpu: float | None = None
    """Cores that it and its jobs use; None before its first sample."""
    memory_bytes: int | None = None
    """Memory that they use."""
    info: Json = field(default_factory=dict)
    """Versions, threads, kernel backends and devices."""
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class WorkerSample(Record):
    """What a worker and its jobs used in the time up to a moment."""

    SUMMARY = ("time", "cpu", "memory_bytes")

    time: datetime | None = None
    cpu: float = 0.0
    """Cores in use: CPU time by time."""
    memory_bytes: int = 0
    """The most resident memory."""
    gpu: float | None = None
    """GPUs in use: the sum of the share of the time in which each computed; None without a GPU."""
    gpu_memory_bytes: int | None = None
    """Memory of the GPUs that was in use."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Readiness(Record):
    """Whether the service can run jobs."""

    ready: bool = False
    checks: Json = field(default_factory=dict)
    """``{ok, detail, required}`` of each part: database, broker, worker, inference."""
