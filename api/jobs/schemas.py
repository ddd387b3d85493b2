"""Jobs, their points, events, attempts and files, as the API answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field

from api.jobs.queue import Place
from api.schemas import Answer, SpecDocument, Time
from jobs.spec import Kind
from jobs.states import Cause, Status
from jobs.tables import Job as JobRow

JOB_ID = "job_01jv3m8z4k6wq0x9t2rhf5ybcd"


class Progress(Answer):
    """How far the attempt is."""

    model_config = ConfigDict(extra="allow")

    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    fraction: float | None = None
    """0 to 1."""
    images_per_second: float | None = None
    eta_seconds: float | None = None


class Environment(Answer):
    """What the job runs on, frozen at its first claim."""

    model_config = ConfigDict(extra="allow")

    device: str | None = None
    backend: str | None = None
    torch: str | None = None
    addercore: str | None = None
    threads: int | None = None
    commit: str | None = None


class JobError(Answer):
    """Why a job failed."""

    code: str
    """`worker_lost`, `out_of_memory`, `timed_out`, `bad_data`, `diverged` or `code_error`."""
    message: str
    log_tail: str | None = None


class Job(Answer):
    """A job; every field is always there, null where it does not apply."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "id": JOB_ID,
                "kind": "train",
                "status": "running",
                "spec": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
                "labels": {"study": "eta"},
                "created_at": "2025-11-21T03:00:00.123Z",
                "queued_at": "2025-11-21T03:00:00.123Z",
                "started_at": "2025-11-21T03:00:00.456Z",
                "finished_at": None,
                "attempt": 1,
                "run_seconds": 2.9,
                "queue_position": None,
                "estimated_start_at": None,
                "waiting_for": None,
                "progress": {
                    "epoch": 3,
                    "epochs": 30,
                    "step": 36,
                    "steps": 360,
                    "fraction": 0.1,
                    "images_per_second": 1500.0,
                    "eta_seconds": 25.9,
                },
                "environment": {"device": "cpu", "backend": "c-avx512", "torch": "2.13.0", "threads": 2},
                "result": None,
                "model_id": None,
                "error": None,
                "retry_of": None,
            }
        },
    )

    id: str
    kind: Kind
    status: Status
    spec: SpecDocument
    """With every default filled in."""
    labels: dict[str, str]
    created_at: Time
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None
    attempt: int
    """Attempts begun; 0 until a worker takes the job."""
    run_seconds: float | None
    """How long the job has run so far, in all its attempts: the time that it waits or is paused does not count. Null
    until its first attempt."""
    queue_position: int | None
    """1 plus the queued jobs before it that compete for the same workers; null unless queued."""
    estimated_start_at: Time | None
    """When a queued job is expected to start, from what runs now and how long jobs like those before it took; null
    where that is not known yet, and unless queued."""
    waiting_for: str | None
    """What a queued job asks for that no live worker has, and what can be done; null where one could take it."""
    progress: Progress | None
    environment: Environment | None
    result: dict[str, Any] | None
    """Final metrics, or what an analysis found, once it has succeeded."""
    model_id: str | None
    error: JobError | None
    retry_of: str | None

    @classmethod
    def of(cls, row: JobRow, labels: Mapping[str, str], place: Place | None, run_seconds: float | None) -> Job:
        """`place` is that of a queued job."""
        apart = {
            "labels": labels,
            "run_seconds": run_seconds,
            "queue_position": place and place.position,
            "estimated_start_at": place and place.starts_at,
            "waiting_for": place and place.waiting_for,
        }
        return cls.model_validate(apart | {name: getattr(row, name) for name in cls.model_fields if name not in apart})


class Operations(Answer):
    """Operations for one image."""

    add: int
    mul: int
    xnor: int


class Layer(Answer):
    name: str
    kind: str
    output_shape: list[int]
    parameters: int
    operations: Operations
    parameter_bytes: int
    activation_bytes: int
    energy_joules: float
    latency_cycles: int


class ModelCounts(Answer):
    """What the network costs for one image."""

    parameters: int
    operations: Operations
    layers: list[Layer]
    data_type: str
    """Of all numbers that are not bits; bytes and energy go by it."""
    parameter_bytes: int
    """One bit a binary weight, with its scaling factors."""
    activation_bytes: int
    """Every layer's output."""
    energy_joules: float
    """Arithmetic only, at 45 nm."""
    energy_by_data_type: dict[str, float]
    """The same, were the numbers of another type: fp32, fp16, int32, int8."""
    latency_cycles: int
    """The paper's latency model: additions 2 cycles, multiplications 4, and XNORs 1."""


class Validation(Answer):
    """A spec that would be accepted; nothing was created."""

    spec: SpecDocument
    model: ModelCounts


class Metric(Answer):
    """One point of a metric."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "seq": 7,
                "name": "train/loss",
                "step": 10,
                "epoch": 0,
                "value": 2.31,
                "time": "2025-11-21T03:00:01.000Z",
            }
        },
    )

    seq: int
    name: str
    step: int
    epoch: int
    value: float | None
    """Null: not a number."""
    time: Time


class Event(Answer):
    """A state change or a notable moment."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    time: Time
    type: str
    message: str
    data: dict[str, Any] | None


class Attempt(Answer):
    """One attempt at a job: where it ran and why it ended."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    attempt: int
    worker: str = Field(validation_alias=AliasChoices("worker", "worker_id"))
    device: str
    """Of that worker: `cpu`, `cuda:1`."""
    started_at: Time
    ended_at: Time | None
    """Null while it runs."""
    cause: Cause | None
    """Why it ended; only `worker_lost` counts against `limits.max_attempts`."""
    message: str | None


class StatusFrame(Answer):
    """`data` of a `status` event of the stream."""

    status: Status
    attempt: int
    queue_position: int | None
    progress: Progress | None
    model_id: str | None
    result: dict[str, Any] | None
    error: JobError | None

    @classmethod
    def of(cls, row: JobRow, queue_position: int | None) -> StatusFrame:
        values = {name: getattr(row, name) for name in cls.model_fields if name != "queue_position"}
        return cls.model_validate({**values, "queue_position": queue_position})


class Artifact(Answer):
    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    created_at: Time
