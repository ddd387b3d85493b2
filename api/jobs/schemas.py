"""Answers about jobs: the job itself, its metrics, events, attempts and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field

from api.jobs.queue_positions import QueuePosition
from api.schemas import Answer, Page, SpecDocument, Time
from jobs import documents
from jobs.spec import Kind
from jobs.states import Cause, Phase, Status, shown_progress
from jobs.tables import Job as JobRow

JOB_ID = "job_01jv3m8z4k6wq0x9t2rhf5ybcd"


class Progress(Answer):
    """How far the attempt under way has come."""

    model_config = ConfigDict(extra="allow")

    phase: Phase | None = None
    """What the attempt does just now; null while none runs."""
    epoch: int | None = None
    """Epochs that are finished."""
    epochs: int | None = None
    step: int | None = None
    """Batches that are done, over all epochs."""
    steps: int | None = None
    fraction: float | None = None
    """0 to 1."""
    images_per_second: float | None = None
    eta_seconds: float | None = None
    """Expected time to the end."""


class Environment(Answer):
    """What the job runs on. Its first attempt fixes it."""

    model_config = ConfigDict(extra="allow")

    device: str | None = None
    backend: str | None = None
    torch: str | None = None
    addercore: str | None = None
    threads: int | None = None
    commit: str | None = None
    process: Literal["forked", "spawned"] | None = None
    """How the process of the last attempt was started."""
    isolation: Literal["none", "landlock", "user", "user+landlock"] | None = None
    """What held it back from the rest of its worker's machine."""


class JobError(Answer):
    """Why a job failed."""

    code: str
    """`worker_lost`, `out_of_memory`, `timed_out`, `bad_data`, `diverged` or `code_error`."""
    message: str
    log_tail: str | None = None


class Job(Answer):
    """A job. Every field is always there, and null where it does not apply."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "id": JOB_ID,
                "kind": "train",
                "status": "running",
                "spec": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
                "labels": {"study": "eta"},
                "name": "the first one that converged",
                "notes": None,
                "starred": True,
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
                "continued_from": None,
            }
        },
    )

    id: str
    kind: Kind
    status: Status
    spec: SpecDocument
    """The spec with every default filled in."""
    labels: dict[str, str]
    """As it was submitted with them, or as they were changed since; `spec.labels` stays as it was submitted."""
    name: str | None
    """A title that somebody gave it."""
    notes: str | None
    starred: bool
    created_at: Time
    queued_at: Time
    started_at: Time | None
    finished_at: Time | None
    attempt: int
    """Number of attempts so far; 0 until a worker takes the job."""
    run_seconds: float | None
    """How long the job has run in all its attempts so far, without the time that it waited or was paused. Null before
    its first attempt."""
    queue_position: int | None
    """1 for the next job among those that compete for the same workers; null unless queued."""
    estimated_start_at: Time | None
    """When a queued job is expected to start, judged by what runs now and how long jobs took lately; null where that is
    not known yet, and unless queued."""
    waiting_for: str | None
    """What a queued job asks for that no live worker has, and what to do about it; null where a worker can take it."""
    progress: Progress | None
    environment: Environment | None
    result: dict[str, Any] | None
    """Final metrics, or what an analysis found, once it has succeeded."""
    model_id: str | None
    """The model that the job published."""
    error: JobError | None
    retry_of: str | None
    """The job that this one repeats."""
    continued_from: str | None
    """The finished training from whose last checkpoint this one goes on."""

    @classmethod
    def of(cls, row: JobRow, labels: Mapping[str, str], at: QueuePosition | None, run_seconds: float | None) -> Job:
        """The answer for a row. `at` is where a queued job stands."""
        apart = {
            "labels": labels,
            "progress": shown_progress(Status(row.status), row.progress),
            "run_seconds": run_seconds,
            "queue_position": at and at.position,
            "estimated_start_at": at and at.starts_at,
            "waiting_for": at and at.waiting_for,
        }
        return cls.model_validate(apart | {name: getattr(row, name) for name in cls.model_fields if name not in apart})


class Operations(Answer):
    """Numbers of operations for one image."""

    add: int
    mul: int
    xnor: int


class Layer(Answer):
    """What one layer costs for one image."""

    name: str
    kind: str
    output_shape: list[int]
    """(channels, height, width), or (features,)."""
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
    """Type of all numbers that are not bits. `parameter_bytes`, `activation_bytes` and `energy_joules` depend on it."""
    parameter_bytes: int
    """Size of all parameters. A binary weight takes one bit; its scaling factors count too."""
    activation_bytes: int
    """Size of the outputs of all layers, for one image."""
    energy_joules: float
    """Energy of the arithmetic for one image at 45 nm, without memory traffic."""
    energy_by_data_type: dict[str, float]
    """The same for numbers of each type: fp32, fp16, int32, int8."""
    latency_cycles: int
    """Latency by the paper's model: 2 cycles an addition, 4 a multiplication, 1 an XNOR."""


class Estimate(Answer):
    """What is expected of a job, were it submitted now. Null where nothing is known yet."""

    seconds: float | None
    """How long it runs, by the jobs that lately succeeded on such a device."""
    memory_bytes: int | None
    """Of a training: parameters with their gradients and momentum, and the outputs of all layers for one batch. The
    program itself and the data come on top. Null for other kinds."""
    queue_position: int
    """1 where no job of the caller's project is before it."""
    start_at: Time | None
    """When it would begin."""
    waiting_for: str | None
    """What the job asks for that no live worker has."""


class Validation(Answer):
    """A spec that would be accepted; nothing was created."""

    spec: SpecDocument
    model: ModelCounts
    estimate: Estimate


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
    """Batches since the start of the job."""
    epoch: int
    value: float | None
    """Null stands for NaN."""
    time: Time


class MetricPage(Page[Metric]):
    """Points of metrics, all that were asked for or few enough to draw."""

    thinned: list[str] = Field(
        default_factory=list,
        exclude_if=lambda names: not names,
        description="Metrics of which `points` left points out. The key is there where there are any.",
    )

    @classmethod
    def of_thinned(cls, rows: Sequence[Any], names: Sequence[str]) -> MetricPage:
        """The one page with these rows, of metrics of which those named have more."""
        return cls(data=list(rows), has_more=False, next=None, thinned=list(names))


def _readable(data: object) -> object:
    """The data of an event, or a word on why an older version's cannot be sent: its `seq` stays in the history."""
    if data is None:
        return None
    found = documents.fault(data) if isinstance(data, dict) else "it is no object"
    return data if found is None else {"unreadable": str(found)[:500]}


class Event(Answer):
    """A state change or a notable moment."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    time: Time
    type: str
    message: str
    data: Annotated[dict[str, Any] | None, BeforeValidator(_readable)]


class Attempt(Answer):
    """One attempt of a job: where it ran and why it ended."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    attempt: int
    worker: str = Field(validation_alias=AliasChoices("worker", "worker_id"))
    device: str
    """The device of that worker: `cpu`, `cuda:1`."""
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
        apart = {"queue_position": queue_position, "progress": shown_progress(Status(row.status), row.progress)}
        return cls.model_validate(apart | {name: getattr(row, name) for name in cls.model_fields if name not in apart})


class Artifact(Answer):
    """A file that a job published."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    created_at: Time
