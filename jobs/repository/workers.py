"""Workers: finding one, and draining it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import func, or_, select

from jobs.access.scope import ServiceTransaction
from jobs.clock import now_ms
from jobs.errors import Conflict, NotFound
from jobs.repository.core import append_events
from jobs.repository.recovery import is_live
from jobs.states import OWNED, Drain
from jobs.tables import Job, Worker


def present(session: ServiceTransaction, live_ms: int) -> Sequence[Worker]:
    """Workers that are alive, and those that missed heartbeats and still hold the lease of a job: it may go on."""
    holding = select(Job.worker_id).where(Job.status.in_(OWNED), Job.lease_expires_at > now_ms())
    shown = or_(is_live(live_ms), Worker.id.in_(holding))
    return session.execute(select(Worker).where(shown).order_by(Worker.id)).scalars().all()


def find(session: ServiceTransaction, name: str, live_ms: int, *, lock: bool = True) -> Worker:
    """The present worker with this id, or the only one whose id begins with `name` or that runs on the host `name`.

    With `lock` its row is locked until the transaction ends, so that nobody forgets the worker while it is being
    changed.

    Raises:
        NotFound: there is none.
        Conflict: there are several.
    """
    named = or_(Worker.id.startswith(name, autoescape=True), Worker.hostname == name)
    live = {worker.id for worker in present(session, live_ms)}
    query = select(Worker).where(named, Worker.id.in_(live)).order_by(Worker.id)
    found = session.execute(query.with_for_update() if lock else query).scalars().all()
    exact = [worker for worker in found if worker.id == name]
    if not found:
        raise NotFound("live worker", name)
    if len(found) > 1 and not exact:
        raise Conflict(f"{name!r} names {len(found)} workers: {', '.join(w.id for w in found)}. Use one of these ids.")
    return (exact or found)[0]


def drain(session: ServiceTransaction, worker: Worker, mode: Drain) -> None:
    """Asks the worker to claim nothing more; it reads that within seconds. Idempotent; the last mode counts."""
    if worker.draining == mode:
        return
    worker.draining = mode
    if mode is Drain.HAND_OVER:
        owned = select(Job).where(Job.worker_id == worker.id, Job.status.in_(OWNED)).order_by(Job.id).with_for_update()
        for job in session.execute(owned).scalars():
            said = "Its worker was asked to hand its jobs over; the training saves its state."
            append_events(session, job, [{"type": "drain", "message": said, "data": {"worker": worker.id}}])


def undrain(session: ServiceTransaction, worker: Worker) -> None:
    """Lets the worker claim again. Idempotent."""
    worker.draining = None


def asked_to_drain(session: ServiceTransaction, worker_id: str, known: Drain | None) -> Drain | None:
    """How the worker is asked to drain. Returns `known` if it has no row at present, as it was away for too long."""
    found = session.execute(select(Worker.draining).where(Worker.id == worker_id)).one_or_none()
    if found is None:
        return known
    return None if found.draining is None else Drain(found.draining)


def running(session: ServiceTransaction, worker_ids: Iterable[str]) -> dict[str, int]:
    """Number of jobs that each of these workers owns."""
    counts: Sequence[tuple[str | None, int]] = [
        (row[0], row[1])
        for row in session.execute(
            select(Job.worker_id, func.count()).where(Job.status.in_(OWNED)).group_by(Job.worker_id)
        )
    ]
    known = {worker_id: count for worker_id, count in counts if worker_id is not None}
    return {worker_id: known.get(worker_id, 0) for worker_id in worker_ids}
