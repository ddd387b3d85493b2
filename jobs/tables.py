"""The tables. `migrations/` must lead to exactly this (a test compares them on SQLite and PostgreSQL)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs import finding_tables as finding_tables  # which belong to the same metadata
from jobs.access.tables import owner_column
from jobs.states import (
    FINAL,
    OWNED,
    SWEEP_FINAL,
    Cause,
    DatasetStatus,
    Drain,
    Status,
    SweepStatus,
    TrialStatus,
)
from jobs.table_base import Base as Base
from jobs.table_base import BigKey, job_fk, one_of
from jobs.webhooks.tables import Delivery as Delivery
from jobs.webhooks.tables import DeliveryStatus as DeliveryStatus
from jobs.webhooks.tables import Webhook as Webhook

TAIL = 6
"""Characters at the end of an id by which it is found."""


def _tail(context: Any) -> str:
    return str(context.get_current_parameters()["id"])[-TAIL:]


def _tail_column() -> Mapped[str]:
    """The end of the row's id; an index on it finds a row by the end of its id."""
    return mapped_column(String(TAIL), default=_tail, server_default=text("''"), index=True)


def _starred_column() -> Mapped[bool]:
    return mapped_column(default=False, server_default=false())


STARRED: dict[str, Any] = {"postgresql_where": text("starred"), "sqlite_where": text("starred = 1")}
"""Of an index that has starred rows alone: there are few of them."""


TAKES_TURNS: dict[str, Any] = {
    f"{dialect}_where": text("status = 'queued' AND label_turn IS NOT NULL") for dialect in ("postgresql", "sqlite")
}
HAS_LABEL_TURN: dict[str, Any] = {
    f"{dialect}_where": text("label_turn IS NOT NULL") for dialect in ("postgresql", "sqlite")
}
"""Of indexes that are empty where projects do not share the workers."""


class Job(Base):
    """One job. A transaction that writes to a running job first locks this row with its fence."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = owner_column()
    kind: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(12))
    spec: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column()
    needs_device: Mapped[str] = mapped_column(String(8))
    """``auto``, ``cpu`` or ``cuda``: which workers may claim it."""
    needs_memory_mb: Mapped[int] = mapped_column(default=0, server_default="0")
    """Memory that a worker's slot must offer, in MiB; 0: any."""
    any_environment: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it may resume where results differ in the last bits (`resources.exact` is false)."""
    max_attempts: Mapped[int]

    share: Mapped[str] = mapped_column(String(256), default="", server_default=text("''"))
    """The share of the workers to which it belongs: its value of the label `ADDER_FAIR_SHARE_LABEL`."""
    work: Mapped[int] = mapped_column(default=1, server_default="1")
    """Estimated size, in millions of operations; at least 1."""
    turn: Mapped[int] = mapped_column(default=0, server_default="0")
    """Virtual finish time in the fair queue, in units of `work`: the smallest of a priority is claimed first."""
    label_share: Mapped[str | None] = mapped_column(String(256))
    """Where projects share the workers: the part of its project's share to which it belongs, a value of that label."""
    label_turn: Mapped[int | None]
    """The same of that part, within its project. NULL where there are no such parts."""

    created_at: Mapped[int]
    queued_at: Mapped[int]
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None]

    attempt: Mapped[int] = mapped_column(default=0)
    faults: Mapped[int] = mapped_column(default=0)
    """Attempts that a fault ended; pauses and hand-overs do not count."""
    fence: Mapped[int] = mapped_column(default=0)
    """Rises whenever the owner changes. An attempt writes only while the fence equals its own."""
    lease_expires_at: Mapped[int | None]
    worker_id: Mapped[str | None] = mapped_column(String(40))
    device: Mapped[str | None] = mapped_column(String(16))
    """The worker's device that the attempt runs on: `cpu`, `cuda:1`."""
    environment_key: Mapped[str | None] = mapped_column(String(120))
    """The environment of the first attempt, on which bytes depend; only a worker that offers the same may resume."""
    threads: Mapped[int | None]
    """Threads of the first attempt, which later ones keep."""
    last_seq: Mapped[int] = mapped_column(default=0)
    """Last ``seq`` given to a metric or an event of this job."""
    log_bytes: Mapped[int] = mapped_column(default=0)

    progress: Mapped[dict[str, Any] | None]
    environment: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    model_id: Mapped[str | None] = mapped_column(String(40))
    retry_of: Mapped[str | None] = mapped_column(String(40))
    continued_from: Mapped[str | None] = mapped_column(String(40))
    """The finished training from whose last checkpoint this one goes on; the job has it as that of step 0."""

    name: Mapped[str | None] = mapped_column(String(100))
    notes: Mapped[str | None] = mapped_column(Text)
    starred: Mapped[bool] = _starred_column()
    dataset: Mapped[str | None] = mapped_column(String(100))
    """The spec's `dataset.name`, for filters: a published name, or the id of a user's dataset."""
    tail: Mapped[str] = _tail_column()

    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="status"),
        CheckConstraint(f"(lease_expires_at IS NOT NULL) = ({one_of('status', OWNED)})", name="lease"),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({one_of('status', FINAL)})", name="finished"),
        CheckConstraint("needs_device IN ('auto', 'cpu', 'cuda')", name="needs_device"),
        # Lists, newest first, by filter.
        Index("ix_jobs_status_id", "project_id", "status", "id"),
        Index("ix_jobs_kind_id", "project_id", "kind", "id"),
        # The order of claims for each demand; the last turn of each share; the largest claimed turn of each priority.
        Index("ix_jobs_claim", "status", "needs_device", "needs_memory_mb", priority.desc(), "turn", "id"),
        Index("ix_jobs_share", "priority", "share", "needs_device", "turn"),
        Index(
            "ix_jobs_served",
            "priority",
            "needs_device",
            "turn",
            postgresql_where=text("attempt > 0"),
            sqlite_where=text("attempt > 0"),
        ),
        # The order within a project, and the last turn of each label there.
        Index("ix_jobs_label_turn", "project_id", "priority", "label_turn", "id", **TAKES_TURNS),
        Index("ix_jobs_label_share", "project_id", "label_share", "label_turn", **HAS_LABEL_TURN),
        # Lists by time and by end. They have all columns that filters look at: a filter that few rows pass reads the
        # index from end to end and no row of the table.
        Index("ix_jobs_listing", "project_id", "id", "status", "kind", "dataset", "starred"),
        Index("ix_jobs_finished", "project_id", "finished_at", "id", "status", "kind", "dataset", "starred"),
        Index("ix_jobs_ended", "finished_at", "id"),  # what housekeeping looks for, of all projects
        Index("ix_jobs_dataset_id", "project_id", "dataset", "id"),
        Index("ix_jobs_starred", "project_id", "starred", "id", **STARRED),
        Index("ix_jobs_model_id", "model_id"),
    )


class Attempt(Base):
    """One attempt of a job: where it ran and why it ended."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fence: Mapped[int]
    worker_id: Mapped[str] = mapped_column(String(40))
    device: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[int]
    ended_at: Mapped[int | None]
    cause: Mapped[str | None] = mapped_column(String(20))
    """NULL while it runs."""
    message: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(one_of("cause", Cause), name="cause"),
        CheckConstraint("(ended_at IS NULL) = (cause IS NULL)", name="ended"),
        Index("ix_attempts_cause", "cause"),
    )


class Label(Base):
    __tablename__ = "job_labels"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))

    __table_args__ = (Index("ix_job_labels_key_value", "key", "value", "job_id"),)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = owner_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(job_fk(), index=True)
    created_at: Mapped[int]


class Outbox(Base):
    """Wake-ups that are still to be sent. The transaction that queues a job writes one; it is deleted once the broker
    has it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(job_fk(), index=True)
    created_at: Mapped[int]


class Metric(Base):
    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(100))
    step: Mapped[int]
    epoch: Mapped[int]
    value: Mapped[float | None]
    """NULL: not a number."""
    time: Mapped[int]

    __table_args__ = (Index("uq_metrics_job_id_name_step", "job_id", "name", "step", unique=True),)


class Event(Base):
    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[int]
    type: Mapped[str] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]


class LogChunk(Base):
    """A piece of a job's log; `offset` is its first byte (UTF-8) in the whole log."""

    __tablename__ = "log_chunks"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    offset: Mapped[int] = mapped_column("start_byte", primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)


class Checkpoint(Base):
    """A training state from which an attempt can resume. Its bytes are in the artifact store."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int]
    created_at: Mapped[int]


class Artifact(Base):
    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(job_fk(), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    media_type: Mapped[str] = mapped_column(String(100))
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[int]


class Model(Base):
    """A trained or imported model. It outlives the job that made it."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = owner_column()
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    """The job that trained it; NULL once imported or when that job is deleted."""
    source: Mapped[str] = mapped_column(String(10))
    arch: Mapped[str] = mapped_column(String(40))
    method: Mapped[str] = mapped_column(String(10))
    dataset: Mapped[str] = mapped_column(String(100))
    parameters: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int]
    format: Mapped[str] = mapped_column(String(12), server_default=text("'safetensors'"))
    """`safetensors`: float weights; `adder`: an integer model."""
    derived_from: Mapped[str | None] = mapped_column(String(40))
    """The float model that was quantised, which may be deleted since."""
    created_at: Mapped[int]

    name: Mapped[str | None] = mapped_column(String(100))
    notes: Mapped[str | None] = mapped_column(Text)
    starred: Mapped[bool] = _starred_column()
    tail: Mapped[str] = _tail_column()

    __table_args__ = (
        CheckConstraint("source IN ('trained', 'imported')", name="source"),
        Index("ix_models_listing", "project_id", "id", "dataset", "starred", "job_id"),
        Index("ix_models_dataset_id", "project_id", "dataset", "id"),
        Index("ix_models_starred", "project_id", "starred", "id", **STARRED),
    )


class Worker(Base):
    """A worker process. It is alive while its heartbeat is young."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    slots: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))
    """The best kind of device it has."""
    devices: Mapped[list[str]]
    """The device of each of its slots: `cuda:0` twice where two jobs share it."""
    memory_mb: Mapped[int]
    """Memory that its jobs share, in MiB."""
    offers: Mapped[list[str]]
    """Every `Job.environment_key` that it offers."""
    draining: Mapped[str | None] = mapped_column(String(10))
    """How it is drained: it finishes its jobs, or hands them over. It claims nothing while this is set."""
    info: Mapped[dict[str, Any]]
    """Versions, threads, kernel backends and devices, for people to read."""
    stats: Mapped[dict[str, Any]]
    """Counters and gauges that it reports with its heartbeat, for `/metrics`."""
    started_at: Mapped[int]
    heartbeat_at: Mapped[int]

    __table_args__ = (
        CheckConstraint("device IN ('cpu', 'cuda')", name="device"),
        CheckConstraint(one_of("draining", Drain), name="draining"),
    )


class Dataset(Base):
    """One version of a dataset that a user uploaded. Its bytes are in the store and never change."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = owner_column()
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    """Counts from 1 under a name."""
    status: Mapped[str] = mapped_column(String(10))
    format: Mapped[str] = mapped_column(String(10))
    """Of the upload."""
    source_sha256: Mapped[str] = mapped_column(String(64), index=True)
    """The upload as it arrived."""
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    """What trainings read: the validated images."""
    bytes: Mapped[int]
    """Of the upload, then of the validated images."""
    info: Mapped[dict[str, Any] | None]
    """An `addercore.config.DatasetInfo`, once it is ready."""
    options: Mapped[dict[str, Any]]
    """An `addercore.config.IntakeOptions`: the same upload with others is another dataset."""
    same_as: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="SET NULL"), index=True)
    """An earlier version of the same name with the very same images and classes."""
    problems: Mapped[list[str] | None]
    """Why it failed, or what was left out: a sentence each."""
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    """The job that validates it."""
    created_at: Mapped[int]
    tail: Mapped[str] = _tail_column()

    __table_args__ = (
        CheckConstraint(one_of("status", DatasetStatus), name="status"),
        CheckConstraint("status != 'ready' OR (sha256 IS NOT NULL AND info IS NOT NULL)", name="ready"),
        Index("uq_datasets_name_version", "project_id", "name", "version", unique=True),
    )


class Sweep(Base):
    """A sweep: ordinary jobs that vary a base spec. It takes no slot itself."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = owner_column()
    status: Mapped[str] = mapped_column(String(12))
    spec: Mapped[dict[str, Any]]
    message: Mapped[str | None] = mapped_column(Text)
    """Why it ended as it did, where that needs saying."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    """Key of the request that made it; valid while the sweep exists."""
    body_sha256: Mapped[str] = mapped_column(String(64))
    """Of that request."""
    created_at: Mapped[int]
    finished_at: Mapped[int | None]
    tail: Mapped[str] = _tail_column()

    __table_args__ = (
        CheckConstraint(one_of("status", SweepStatus), name="status"),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({one_of('status', SWEEP_FINAL)})", name="finished"),
        Index("ix_sweeps_status_id", "status", "id"),
        Index("ix_sweeps_project_id", "project_id", "id"),
        Index("uq_sweeps_idempotency_key", "project_id", "idempotency_key", unique=True),
    )


class Trial(Base):
    """One trial of a sweep: what it changes in the base spec, its job, and the value that this reached."""

    __tablename__ = "trials"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(10))
    parameters: Mapped[dict[str, Any]]
    """Dotted name of a field → value."""
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    """NULL before it is submitted and after its job is deleted."""
    value: Mapped[float | None]
    """The sweep's objective."""
    message: Mapped[str | None] = mapped_column(Text)
    """Why it ended as it did, where that needs saying."""
    seconds: Mapped[float | None]
    """How long its job ran, once that has ended."""
    curve: Mapped[dict[str, Any] | None]
    """Epoch → the objective, as far as it was read; a search prunes by it."""
    curve_seq: Mapped[int] = mapped_column(default=0, server_default="0")
    """`seq` of the last metric that is in `curve`."""

    __table_args__ = (CheckConstraint(one_of("status", TrialStatus), name="status"),)
