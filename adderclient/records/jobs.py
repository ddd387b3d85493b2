"""Jobs and what belongs to one: progress, metrics, events, attempts, artifacts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from adderclient.records.base import Json, Record


class Status(StrEnum):
    """The statuses of a job."""

    queued = "queued"
    running = "running"
    pausing = "pausing"
    paused = "paused"
    cancelling = "cancelling"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


FINAL = frozenset({"succeeded", "failed", "cancelled"})
"""The statuses that a job, or a sweep, never leaves."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Progress(Record):
    """How far a running job is."""

    phase: str | None = None
    """What it does just now: `starting`, `reading_data`, `calibrating`, `training`, `validating`, `measuring` or
    `storing`; None unless it runs."""
    epoch: int | None = None
    """Finished epochs."""
    epochs: int | None = None
    """Epochs of the whole job."""
    step: int | None = None
    """Finished steps of the optimizer."""
    steps: int | None = None
    """Steps of the whole job."""
    fraction: float | None = None
    """Part of the whole job that is done, 0 to 1."""
    images_per_second: float | None = None
    eta_seconds: float | None = None
    """Expected time to the end."""


@dataclass(frozen=True, kw_only=True, repr=False)
class JobError(Record):
    """Why a job failed."""

    code: str = ""
    """``worker_lost``, ``out_of_memory``, ``timed_out``, ``bad_data``, ``diverged`` or ``code_error``."""
    message: str = ""
    """A sentence for people."""
    log_tail: str | None = None
    """The last lines of its log."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Job(Record):
    """One job as the server last saw it."""

    SUMMARY = ("id", "kind", "status", "name", "model_id")

    id: str
    kind: str = ""
    """``train``, ``evaluate``, ``analyze`` or ``ingest``."""
    status: str
    """One of :class:`Status`; a newer server may have others."""
    spec: Json = field(default_factory=dict)
    """The spec with every default filled in."""
    labels: Json = field(default_factory=dict)
    """As they are now; ``spec["labels"]`` has those of the submission."""
    name: str | None = None
    """A title that somebody gave it."""
    notes: str | None = None
    starred: bool = False
    created_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    """When its first attempt began."""
    finished_at: datetime | None = None
    attempt: int = 0
    """Attempts begun; 0 until a worker takes the job."""
    run_seconds: float | None = None
    """For how long its attempts ran, without the time in which it was queued or paused.
    :meth:`adderclient.jobs.Jobs.run_seconds` also has it from servers that do not say it."""
    queue_position: int | None = None
    """While queued: 1 plus the jobs before it that compete for the same workers."""
    estimated_start_at: datetime | None = None
    """When a queued job is expected to start, where that is known."""
    waiting_for: str | None = None
    """What a queued job asks for that no live worker has."""
    progress: Progress = field(default_factory=Progress)
    environment: Json = field(default_factory=dict)
    """Device, kernels and versions that it runs on, fixed by its first attempt."""
    result: Json = field(default_factory=dict)
    """Final metrics, or what an analysis found; empty until it has succeeded."""
    model_id: str | None = None
    """The model that it published."""
    retry_of: str | None = None
    """The job of which it is a retry."""
    continued_from: str | None = None
    """The finished training from whose last checkpoint it goes on."""
    error: JobError | None = None
    """Why it failed."""

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True, repr=False)
class Validation(Record):
    """What the server says about a spec that it would accept; no job was created."""

    spec: Json = field(default_factory=dict)
    """The spec with every default filled in."""
    model: Json = field(default_factory=dict)
    """What the network costs for one image: ``parameters, operations {add, mul, xnor}, layers, energy_joules, …``."""
    estimate: Json = field(default_factory=dict)
    """What is expected of the job: ``seconds, memory_bytes, queue_position, start_at, waiting_for``; None where nothing
    is known."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MetricPoint(Record):
    """One value of one metric."""

    seq: int
    """Its number among the job's points and events, in order of writing."""
    name: str
    """Such as ``train/loss`` or ``val/accuracy``, a share from 0 to 1."""
    step: int | None = None
    epoch: int | None = None
    value: float | None = None
    """None where the training computed no number (NaN)."""
    time: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Event(Record):
    """A state change or a notable moment of a job."""

    seq: int
    """Its number among the job's points and events, in order of writing."""
    time: datetime | None = None
    type: str = ""
    message: str = ""
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, repr=False)
class Artifact(Record):
    """A file that a job published."""

    SUMMARY = ("name", "bytes", "media_type")

    name: str
    kind: str = ""
    media_type: str = ""
    bytes: int
    sha256: str
    """Of its bytes, in hexadecimal."""
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Attempt(Record):
    """One attempt at a job: where it ran and why it ended."""

    SUMMARY = ("attempt", "worker", "device", "cause")

    attempt: int
    """From 1."""
    worker: str = ""
    """The id of its worker."""
    device: str = ""
    """Of that worker: ``cpu`` or ``cuda:1``."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    """None while it runs."""
    cause: str | None = None
    """Why it ended; None while it runs."""
    message: str | None = None


def ran(attempts: Iterable[Attempt]) -> float | None:
    """Seconds for which attempts ran, without the time between them.

    Args:
        attempts: those of one job; one that has not ended counts as nothing.

    Returns:
        The sum, or None where no attempt has ended.
    """
    spans = [(one.ended_at - one.started_at).total_seconds() for one in attempts if one.started_at and one.ended_at]
    return sum(spans) if spans else None


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """One server-sent event of a job: a metric, an event or a status."""

    id: str
    """Pass it as ``last_event_id`` to go on after this one."""
    type: str
    """``metric``, ``event`` or ``status``; a newer server may send others."""
    data: Json
    """What was sent, as JSON."""

    @property
    def metric(self) -> MetricPoint | None:
        """The point, where this is a metric."""
        return MetricPoint.from_json(self.data) if self.type == "metric" else None

    @property
    def event(self) -> Event | None:
        """The event, where this is one."""
        return Event.from_json(self.data) if self.type == "event" else None

    @property
    def status(self) -> str | None:
        """The job's new status, where this is a status."""
        value = self.data.get("status") if self.type == "status" else None
        return None if value is None else str(value)
