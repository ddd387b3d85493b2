"""What `/metrics` reads from the database: short queries that use an index or read a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from jobs.access.scope import ServiceTransaction
from jobs.clock import now_ms
from jobs.repository.core import now
from jobs.repository.recovery import depth
from jobs.states import OWNED, Cause, Status
from jobs.tables import Artifact, Attempt, Checkpoint, Job, Model, Outbox, Worker


@dataclass(frozen=True)
class Waiting:
    """The queued jobs of one priority that ask for one kind of device."""

    priority: int
    device: str
    jobs: int
    oldest_seconds: float


@dataclass(frozen=True)
class WorkerHealth:
    row: Worker
    heartbeat_age_seconds: float
    running: int
    """Number of jobs that it owns."""


@dataclass(frozen=True)
class Snapshot:
    """The state of the service at one moment."""

    jobs: Mapping[str, int]
    """Number by status; every status is there."""
    waiting: Sequence[Waiting]
    expired_leases: int
    """Running jobs whose lease has expired and that no worker has taken back yet."""
    attempts: Mapping[str, int]
    """Number of ended attempts by cause; every cause is there."""
    outbox: int
    outbox_oldest_seconds: float
    workers: Sequence[WorkerHealth]


def snapshot(session: ServiceTransaction) -> Snapshot:
    stamp = now(session)
    outbox, first = session.execute(select(func.count(), func.min(Outbox.created_at)).select_from(Outbox)).one()
    expired = select(func.count()).select_from(Job).where(Job.status.in_(OWNED), Job.lease_expires_at < now_ms())
    return Snapshot(
        jobs=depth(session),
        waiting=_waiting(session, stamp),
        expired_leases=int(session.execute(expired).scalar_one()),
        attempts=_attempts(session),
        outbox=int(outbox),
        outbox_oldest_seconds=_age(first, stamp),
        workers=_workers(session, stamp),
    )


def _age(then: int | None, stamp: int) -> float:
    """Age in seconds; 0 for a row that is younger than `stamp`."""
    return 0.0 if then is None else max(0, stamp - int(then)) / 1000


def _waiting(session: ServiceTransaction, stamp: int) -> Sequence[Waiting]:
    rows = session.execute(
        select(Job.priority, Job.needs_device, func.count(), func.min(Job.queued_at))
        .where(Job.status == Status.QUEUED)
        .group_by(Job.priority, Job.needs_device)
        .order_by(Job.priority.desc(), Job.needs_device)
    )
    return [Waiting(priority, device, count, _age(oldest, stamp)) for priority, device, count, oldest in rows]


def _attempts(session: ServiceTransaction) -> Mapping[str, int]:
    rows = session.execute(
        select(Attempt.cause, func.count()).where(Attempt.cause.is_not(None)).group_by(Attempt.cause)
    )
    return dict.fromkeys((str(cause) for cause in Cause), 0) | {str(cause): count for cause, count in rows}


def _workers(session: ServiceTransaction, stamp: int) -> Sequence[WorkerHealth]:
    owned = select(Job.worker_id, func.count()).where(Job.status.in_(OWNED)).group_by(Job.worker_id)
    running = {str(worker): count for worker, count in session.execute(owned)}
    rows = session.execute(select(Worker).order_by(Worker.id)).scalars()
    return [WorkerHealth(row, _age(row.heartbeat_at, stamp), running.get(row.id, 0)) for row in rows]


def stored_bytes(session: ServiceTransaction) -> Mapping[str, int]:
    """Bytes of the stored blobs by the kind of row that names them. Reads three whole tables: not for every scrape."""
    columns = {"artifact": Artifact.bytes, "checkpoint": Checkpoint.bytes, "model": Model.bytes}
    return {
        name: int(session.execute(select(func.coalesce(func.sum(column), 0))).scalar_one())
        for name, column in columns.items()
    }
