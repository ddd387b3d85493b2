"""What the server says, as frozen dataclasses.

A newer server may send more fields than are named here: they stay in ``raw``, the JSON object as it came, and never
break parsing. A field that is missing or null is ``None`` or empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Json = Mapping[str, Any]

FINAL = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that a job never leaves."""


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a running job is."""

    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    fraction: float | None = None
    """0 to 1 of the whole job."""
    images_per_second: float | None = None
    eta_seconds: float | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Progress:
        """Parses the object of the contract."""
        return cls(
            epoch=_integer(data.get("epoch")),
            epochs=_integer(data.get("epochs")),
            step=_integer(data.get("step")),
            steps=_integer(data.get("steps")),
            fraction=_number(data.get("fraction")),
            images_per_second=_number(data.get("images_per_second")),
            eta_seconds=_number(data.get("eta_seconds")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed."""

    code: str
    message: str
    log_tail: str | None = None

    @classmethod
    def from_json(cls, data: Json) -> JobError:
        """Parses the object of the contract."""
        tail = data.get("log_tail")
        return cls(
            code=str(data.get("code", "")),
            message=str(data.get("message", "")),
            log_tail="\n".join(map(str, tail)) if isinstance(tail, list) else _text(tail),
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as the server last saw it."""

    id: str
    kind: str
    status: str
    spec: Json = field(default_factory=dict)
    """The spec with every default filled in."""
    labels: Json = field(default_factory=dict)
    created_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int | None = None
    queue_position: int | None = None
    """1 for the next one of those that compete for the same workers, while queued."""
    estimated_start_at: datetime | None = None
    """When a queued job is expected to start, where that is known."""
    waiting_for: str | None = None
    """What a queued job asks for that no live worker has."""
    progress: Progress = field(default_factory=Progress)
    environment: Json = field(default_factory=dict)
    result: Json = field(default_factory=dict)
    model_id: str | None = None
    retry_of: str | None = None
    error: JobError | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Job:
        """Parses the object of the contract."""
        error = data.get("error")
        return cls(
            id=str(data["id"]),
            kind=str(data.get("kind", "")),
            status=str(data["status"]),
            spec=_object(data.get("spec")),
            labels=_object(data.get("labels")),
            created_at=_time(data.get("created_at")),
            queued_at=_time(data.get("queued_at")),
            started_at=_time(data.get("started_at")),
            finished_at=_time(data.get("finished_at")),
            attempt=_integer(data.get("attempt")),
            queue_position=_integer(data.get("queue_position")),
            estimated_start_at=_time(data.get("estimated_start_at")),
            waiting_for=_text(data.get("waiting_for")),
            progress=Progress.from_json(_object(data.get("progress"))),
            environment=_object(data.get("environment")),
            result=_object(data.get("result")),
            model_id=_text(data.get("model_id")),
            retry_of=_text(data.get("retry_of")),
            error=JobError.from_json(error) if isinstance(error, Mapping) else None,
            raw=data,
        )

    @property
    def finished(self) -> bool:
        """True once the status is final."""
        return self.status in FINAL

    @property
    def seconds(self) -> float | None:
        """From start to end, once both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What ``validate`` found out about a spec without creating anything."""

    spec: Json
    model: Json
    """``parameters, operations {add, mul, xnor}, layers, energy_joules, activation_bytes`` for one image."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Validation:
        """Parses the object of the contract."""
        return cls(spec=_object(data.get("spec")), model=_object(data.get("model")), raw=data)


@dataclass(frozen=True, kw_only=True)
class MetricPoint:
    """One value of one metric."""

    seq: int
    name: str
    step: int | None
    epoch: float | None
    value: float | None
    """``None`` where the training computed no number (NaN)."""
    time: datetime | None = None

    @classmethod
    def from_json(cls, data: Json) -> MetricPoint:
        """Parses the object of the contract."""
        return cls(
            seq=int(data["seq"]),
            name=str(data["name"]),
            step=_integer(data.get("step")),
            epoch=_number(data.get("epoch")),
            value=_number(data.get("value")),
            time=_time(data.get("time")),
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """A state change or a notable moment of a job."""

    seq: int
    time: datetime | None
    type: str
    message: str
    data: Json = field(default_factory=dict)
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Event:
        """Parses the object of the contract."""
        return cls(
            seq=int(data["seq"]),
            time=_time(data.get("time")),
            type=str(data.get("type", "")),
            message=str(data.get("message") or ""),
            data=_object(data.get("data")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a job published."""

    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    created_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Artifact:
        """Parses the object of the contract."""
        return cls(
            name=str(data["name"]),
            kind=str(data.get("kind", "")),
            media_type=str(data.get("media_type", "")),
            bytes=int(data["bytes"]),
            sha256=str(data["sha256"]),
            created_at=_time(data.get("created_at")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Model:
    """A published or imported model; all that the server says about it is in ``raw``."""

    id: str
    job_id: str | None = None
    """The job that trained it."""
    source: str | None = None
    """``trained`` or ``imported``."""
    arch: str | None = None
    method: str | None = None
    dataset: str | None = None
    parameters: int | None = None
    metrics: Json = field(default_factory=dict)
    """Its accuracy and loss, where they are known."""
    bytes: int | None = None
    sha256: str | None = None
    """Of its ``model.safetensors``."""
    created_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Model:
        """Parses the server's object."""
        return cls(
            id=str(data["id"]),
            job_id=_text(data.get("job_id")),
            source=_text(data.get("source")),
            arch=_text(data.get("arch")),
            method=_text(data.get("method")),
            dataset=_text(data.get("dataset")),
            parameters=_integer(data.get("parameters")),
            metrics=_object(data.get("metrics")),
            bytes=_integer(data.get("bytes")),
            sha256=_text(data.get("sha256")),
            created_at=_time(data.get("created_at")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset that the server knows; all that it says about it is in ``raw``."""

    name: str
    id: str | None = None
    description: str = ""
    input_shape: tuple[int, ...] = ()
    """(c, h, w) as the network sees it."""
    train_size: int | None = None
    validation_size: int | None = None
    available: bool | None = None
    """Whether its files are on the server."""
    how_to_get: str = ""
    version: int | None = None
    """Of a user's dataset."""
    status: str | None = None
    """``ready``, ``missing``, ``validating`` or ``failed``."""
    problems: tuple[str, ...] = ()
    """Why it failed."""
    notes: tuple[str, ...] = ()
    """What was left out, converted or guessed."""
    preview: str | None = None
    """Path of its contact sheet."""
    job_id: str | None = None
    """The job that validates it."""
    same_as: str | None = None
    """The earlier version with the very same images."""
    classes: tuple[str, ...] = ()
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Dataset:
        """Parses the server's object."""
        identity = _text(data.get("id"))
        return cls(
            name=str(data.get("name") or identity or ""),
            id=identity,
            description=str(data.get("description") or ""),
            input_shape=tuple(int(size) for size in data.get("input_shape") or ()),
            train_size=_integer(data.get("train_size")),
            validation_size=_integer(data.get("validation_size")),
            available=data.get("available"),
            how_to_get=str(data.get("how_to_get") or ""),
            version=_integer(data.get("version")),
            status=_text(data.get("status")),
            problems=tuple(map(str, data.get("problems") or ())),
            notes=tuple(map(str, data.get("notes") or ())),
            preview=_text(data.get("preview")),
            job_id=_text(data.get("job_id")),
            same_as=_text(data.get("same_as")),
            classes=tuple(map(str, data.get("classes") or ())),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a job: where it ran and why it ended."""

    attempt: int
    worker: str
    device: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cause: str | None = None
    """None while it runs."""
    message: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Attempt:
        """Parses the object of the contract."""
        return cls(
            attempt=int(data["attempt"]),
            worker=str(data.get("worker", "")),
            device=str(data.get("device", "")),
            started_at=_time(data.get("started_at")),
            ended_at=_time(data.get("ended_at")),
            cause=_text(data.get("cause")),
            message=_text(data.get("message")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker that is alive."""

    id: str
    hostname: str = ""
    pid: int | None = None
    slots: int | None = None
    devices: tuple[str, ...] = ()
    """Of each slot."""
    state: str = ""
    """``active``, ``draining``, or ``drained``: it claims nothing more and runs nothing."""
    draining: str | None = None
    """``finish`` or ``hand_over``: how it was asked to leave."""
    running: int | None = None
    """Jobs that it owns."""
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Worker:
        """Parses the object of the contract."""
        return cls(
            id=str(data["id"]),
            hostname=str(data.get("hostname", "")),
            pid=_integer(data.get("pid")),
            slots=_integer(data.get("slots")),
            devices=tuple(map(str, data.get("devices") or ())),
            state=str(data.get("state", "")),
            draining=_text(data.get("draining")),
            running=_integer(data.get("running")),
            started_at=_time(data.get("started_at")),
            heartbeat_at=_time(data.get("heartbeat_at")),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The answer of ``/readyz``."""

    ready: bool
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    """Names each part: database, broker, worker."""


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """One server-sent event of a job: a metric, an event or a status."""

    id: str
    """Pass it as ``last_event_id`` to go on after this one."""
    type: str
    """``metric``, ``event`` or ``status``; others may come from newer servers."""
    data: Json

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
        return _text(self.data.get("status")) if self.type == "status" else None


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a listing, newest first; ``next`` is the cursor of the following part."""

    data: tuple[T, ...]
    has_more: bool = False
    next: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json, parse: Callable[[Json], T]) -> Page[T]:
        """Parses a listing's envelope and each of its objects with ``parse``."""
        return cls(
            data=tuple(parse(item) for item in data.get("data", [])),
            has_more=bool(data.get("has_more")),
            next=_text(data.get("next")),
            raw=data,
        )

    def __iter__(self) -> Iterator[T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)
