"""The queue: which job is next, and taking it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from jobs.clock import now_ms
from jobs.repository.attempts import Claim
from jobs.repository.core import append_events
from jobs.states import Status
from jobs.tables import Attempt, Job


@dataclass(frozen=True)
class Offer:
    """What a free slot of a worker offers to a job."""

    worker_id: str
    devices: Sequence[str] = ("cpu",)
    """Devices that are free, best first: `cuda:0`, `cpu`."""


def claim(session: Session, offer: Offer, lease_ms: int) -> Claim | None:
    """Takes the best eligible queued job, if any: highest priority, then whose turn it is.

    On PostgreSQL, rows that another worker is claiming are skipped; on SQLite the write transaction serialises claims.
    """
    kinds = {device.partition(":")[0] for device in offer.devices}
    best = (
        select(Job.id)
        .where(Job.status == Status.QUEUED, Job.needs_device.in_(("auto", *sorted(kinds))))
        .order_by(Job.priority.desc(), Job.turn, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = session.execute(
        update(Job)
        .where(Job.id == best.scalar_subquery(), Job.status == Status.QUEUED)
        .values(
            status=Status.RUNNING,
            attempt=Job.attempt + 1,
            fence=Job.fence + 1,
            lease_expires_at=now_ms() + lease_ms,
            worker_id=offer.worker_id,
            started_at=func.coalesce(Job.started_at, now_ms()),
        )
        .returning(Job)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if row is None:
        return None
    device = next(d for d in offer.devices if row.needs_device in ("auto", d.partition(":")[0]))
    row.device = device
    session.execute(
        insert(Attempt).values(
            job_id=row.id,
            attempt=row.attempt,
            fence=row.fence,
            worker_id=offer.worker_id,
            device=device,
            started_at=now_ms(),
        )
    )
    event = {
        "type": "status",
        "message": f"Attempt {row.attempt} started.",
        "data": {"from": Status.QUEUED, "to": Status.RUNNING, "attempt": row.attempt, "worker": offer.worker_id},
    }
    append_events(session, row, [event])
    return Claim(
        row.id, row.fence, row.attempt, row.kind, row.spec, row.max_attempts, row.faults, device, row.threads,
        row.exact_key,
    )  # fmt: skip
