"""The tables. `migrations/` must lead to exactly this (a test compares them on SQLite and PostgreSQL)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Double, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jobs.states import Status

# SQLite gives rowid keys to INTEGER columns only.
BigKey = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), int: BigInteger, float: Double}  # noqa: RUF012


def _job_fk() -> ForeignKey:
    return ForeignKey("jobs.id", ondelete="CASCADE")


class Job(Base):
    """One job. Whoever writes to a running one locks this row with its fence first."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(12))
    spec: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column()
    needs_device: Mapped[str] = mapped_column(String(8))
    """``auto``, ``cpu`` or ``cuda``: which workers may claim it."""
    max_attempts: Mapped[int]

    created_at: Mapped[int]
    queued_at: Mapped[int]
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None]

    attempt: Mapped[int] = mapped_column(default=0)
    faults: Mapped[int] = mapped_column(default=0)
    """Attempts that a fault ended; pauses and hand-overs do not count."""
    fence: Mapped[int] = mapped_column(default=0)
    """Rises whenever the owner changes; an attempt writes only while it equals its own."""
    lease_expires_at: Mapped[int | None]
    worker_id: Mapped[str | None] = mapped_column(String(40))
    last_seq: Mapped[int] = mapped_column(default=0)
    """Last ``seq`` given to a metric or an event of this job."""
    log_bytes: Mapped[int] = mapped_column(default=0)

    progress: Mapped[dict[str, Any] | None]
    environment: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    model_id: Mapped[str | None] = mapped_column(String(40))
    retry_of: Mapped[str | None] = mapped_column(String(40))

    __table_args__ = (
        CheckConstraint("status IN (" + ", ".join(f"'{s}'" for s in Status) + ")", name="status"),
        CheckConstraint(
            "(lease_expires_at IS NOT NULL) = (status IN ('running', 'pausing', 'cancelling'))", name="lease"
        ),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled'))", name="finished"
        ),
        CheckConstraint("needs_device IN ('auto', 'cpu', 'cuda')", name="needs_device"),
        # Listings (newest first) by filter, and the order in which jobs are claimed.
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_kind_id", "kind", "id"),
        Index("ix_jobs_claim", "status", priority.desc(), "queued_at", "id"),
        Index("ix_jobs_model_id", "model_id"),
    )


class Label(Base):
    __tablename__ = "job_labels"

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))

    __table_args__ = (Index("ix_job_labels_key_value", "key", "value", "job_id"),)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(_job_fk(), index=True)
    created_at: Mapped[int]


class Outbox(Base):
    """Wake-ups still to be sent: written in the transaction that queues a job, deleted once the broker has them."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(_job_fk(), index=True)
    created_at: Mapped[int]


class Metric(Base):
    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
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

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[int]
    type: Mapped[str] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]


class LogChunk(Base):
    """A piece of a job's log; `offset` is its first byte (UTF-8) in the whole log."""

    __tablename__ = "log_chunks"

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
    offset: Mapped[int] = mapped_column("start_byte", primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)


class Checkpoint(Base):
    """A training state from which an attempt can go on; the bytes lie in the artifact store."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int]
    created_at: Mapped[int]


class Artifact(Base):
    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(_job_fk(), primary_key=True)
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
    created_at: Mapped[int]

    __table_args__ = (CheckConstraint("source IN ('trained', 'imported')", name="source"),)


class Worker(Base):
    """A worker process that is alive while its heartbeat is young."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    slots: Mapped[int]
    device: Mapped[str] = mapped_column(String(8))
    info: Mapped[dict[str, Any]]
    """Versions, threads, kernel backends and devices, for people to read."""
    started_at: Mapped[int]
    heartbeat_at: Mapped[int]

    __table_args__ = (CheckConstraint("device IN ('cpu', 'cuda')", name="device"),)
