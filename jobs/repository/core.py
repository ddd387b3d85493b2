"""What the other modules share: locking a job, appending events, changing its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from jobs.access.scope import Transaction
from jobs.clock import now_ms
from jobs.errors import Conflict, NotFound
from jobs.repository.indexing import index_result
from jobs.states import EDGES, FINAL, DatasetStatus, Status
from jobs.tables import Dataset, Event, Job, Outbox
from jobs.webhooks import events


def now(session: Transaction) -> int:
    """The database's time in ms."""
    return int(session.execute(select(now_ms())).scalar_one())


def lock_job(session: Transaction, job_id: str) -> Job:
    """The job's row, locked until the transaction ends (on SQLite BEGIN IMMEDIATE locks the whole database)."""
    job = session.execute(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if job is None:
        raise NotFound("job", job_id)
    return job


def append_events(session: Transaction, job: Job, happened: Iterable[Mapping[str, Any]]) -> None:
    """Appends events `{type, message, data}` to a *locked* job. Its lock orders `seq`, so that no reader skips an
    event."""
    rows = [
        {"job_id": job.id, "seq": job.last_seq + i, "time": now_ms(), "data": None, **event}
        for i, event in enumerate(happened, start=1)
    ]
    for row in rows:  # not executemany: `time` is an SQL expression
        session.execute(insert(Event).values(**row))
    job.last_seq += len(rows)


def change_status(
    session: Transaction, job: Job, to: Status, message: str, data: Mapping[str, Any] | None = None
) -> None:
    """Moves a *locked* job along an edge of the state machine, with an event.

    Raises:
        Conflict: there is no such edge.
    """
    before = Status(job.status)
    if to not in EDGES[before]:
        raise Conflict(f"A job that is {before} cannot become {to}.")
    stamp = now(session)  # before any change: a query flushes, and half a change breaks the table's constraints
    job.status = to
    if not to.owned:
        job.lease_expires_at = None
        job.worker_id = None
        job.device = None
    if to in FINAL:
        job.finished_at = stamp
        if job.kind == "ingest":
            _close_dataset(session, job, message)
    if to is Status.SUCCEEDED:
        index_result(session, job)
    if to is Status.QUEUED:
        job.queued_at = stamp
        queue_wakeup(session, job.id)
    append_events(
        session, job, [{"type": "status", "message": message, "data": {"from": before, "to": to, **(data or {})}}]
    )
    events.job_changed(session, job)


def _close_dataset(session: Transaction, job: Job, message: str) -> None:
    """When the job that validates a dataset has ended in any way, a dataset that is not ready has failed."""
    closed = session.execute(
        update(Dataset)
        .where(Dataset.job_id == job.id, Dataset.status == DatasetStatus.VALIDATING)
        .values(status=DatasetStatus.FAILED, problems=[message])
        .returning(Dataset)
    )
    for dataset in closed.scalars().all():
        events.dataset_ended(session, dataset)


def queue_wakeup(session: Transaction, job_id: str) -> None:
    session.execute(insert(Outbox).values(job_id=job_id, created_at=now_ms()))


def upsert(session: Transaction, table: Any) -> Any:
    """The INSERT of the database's dialect, which has ON CONFLICT."""
    return (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(table)
