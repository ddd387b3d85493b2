"""Jobs of workers that died, wake-ups that were never sent, and heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select

from jobs.access.scope import ServiceTransaction, Transaction
from jobs.clock import now_ms
from jobs.repository.attempts import fault, finish, hand_back
from jobs.repository.core import upsert
from jobs.states import OWNED, Status
from jobs.tables import Job, Outbox, Worker

BATCH = 100


def reclaim_expired(session: ServiceTransaction, before_ms: int | None = None) -> list[str]:
    """Takes jobs from owners whose lease has expired. It raises the fence, so that an owner that wakes up publishes
    nothing.

    The caller must have seen the database for a whole lease before: after an outage owners first get time to renew.

    Args:
        before_ms: leases that expired before this time of the database; None: before now.
    """
    before = now_ms() if before_ms is None else before_ms
    expired = (
        session.execute(
            select(Job)
            .where(Job.status.in_(OWNED), Job.lease_expires_at < before)
            .order_by(Job.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        .scalars()
        .all()
    )
    for job in expired:
        fault(session, job, f"Attempt {job.attempt} was lost: its worker stopped renewing the lease.")
    return [job.id for job in expired]


def owned_by(session: ServiceTransaction, worker_id: str) -> set[tuple[str, int]]:
    """`(job id, fence)` of every job that this worker owns by the database."""
    rows = session.execute(select(Job.id, Job.fence).where(Job.status.in_(OWNED), Job.worker_id == worker_id))
    return {(row.id, row.fence) for row in rows}


def release(session: ServiceTransaction, job_id: str, fence: int) -> bool:
    """Gives a job back without a fault whose claim was committed although its worker got an error."""
    job = session.execute(
        select(Job).where(Job.id == job_id, Job.fence == fence, Job.status.in_(OWNED)).with_for_update()
    ).scalar_one_or_none()
    if job is None:
        return False
    reason = "Its worker never learnt of this attempt: the connection broke as it began."
    if job.status == Status.CANCELLING:
        finish(session, job, Status.CANCELLED, f"Cancelled. {reason}")
    elif job.status == Status.PAUSING:
        hand_back(session, job, Status.PAUSED, f"Paused. {reason}")
    else:
        hand_back(session, job, Status.QUEUED, f"{reason} Queued again.")
    return True


def pending_wakeups(session: ServiceTransaction) -> Sequence[tuple[int, str]]:
    """The oldest rows of the outbox, as `(id, job_id)`."""
    rows = session.execute(select(Outbox.id, Outbox.job_id).order_by(Outbox.id).limit(BATCH))
    return [(row.id, row.job_id) for row in rows]


def unsent_wakeups(session: Transaction) -> int:
    """Number of rows in the outbox."""
    return int(session.execute(select(func.count()).select_from(Outbox)).scalar_one())


def wakeups_sent(session: ServiceTransaction, ids: Sequence[int]) -> None:
    session.execute(delete(Outbox).where(Outbox.id.in_(ids)))


def heartbeat(session: ServiceTransaction, worker: dict[str, Any]) -> None:
    """Inserts or refreshes a worker's row. `draining` of an existing row stays, as users set it."""
    insertion = upsert(session, Worker).values(**worker, started_at=now_ms(), heartbeat_at=now_ms())
    fresh = {key: worker[key] for key in ("info", "device", "devices", "memory_mb", "offers", "stats")}
    fresh |= {"heartbeat_at": now_ms()}
    session.execute(insertion.on_conflict_do_update(index_elements=["id"], set_=fresh))


def forget_worker(session: ServiceTransaction, worker_id: str) -> None:
    session.execute(delete(Worker).where(Worker.id == worker_id))


def forget_dead_workers(session: ServiceTransaction, dead_ms: int) -> None:
    session.execute(delete(Worker).where(Worker.heartbeat_at < now_ms() - dead_ms))


def is_live(live_ms: int) -> ColumnElement[bool]:
    """The condition on a worker's row that it is alive: its last heartbeat is younger than `live_ms`."""
    return Worker.heartbeat_at > now_ms() - live_ms


def live_workers(session: Transaction, live_ms: int) -> Sequence[Worker]:
    return session.execute(select(Worker).where(is_live(live_ms)).order_by(Worker.id)).scalars().all()


def depth(session: Transaction) -> dict[str, int]:
    """Number of jobs by status."""
    counts = dict.fromkeys((str(s) for s in Status), 0)
    for status, count in session.execute(select(Job.status, func.count()).group_by(Job.status)):
        counts[status] = count
    return counts


def oldest_queued_ms(session: Transaction) -> int:
    """Age in ms of the job that has been queued longest; 0 if none waits."""
    age = session.execute(select(now_ms() - func.min(Job.queued_at)).where(Job.status == Status.QUEUED)).scalar_one()
    return max(0, int(age or 0))
