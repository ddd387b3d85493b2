"""Rows of sweeps and trials. Functions take an open transaction; the caller commits.

A transaction that changes a sweep or its trials locks the sweep's row before any job's row. This one order excludes
deadlocks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import Row, case, delete, func, insert, select, update

from addercore.config import explain
from jobs.access.scope import OwnTransaction, ServiceTransaction
from jobs.documents import Unreadable, require_readable
from jobs.errors import Conflict, IdempotencyMismatch, NotFound
from jobs.ids import new_id
from jobs.repository.core import now
from jobs.repository.paging import Page, page
from jobs.states import FINAL, SWEEP_FINAL, Status, SweepStatus, TrialStatus
from jobs.sweeps.planning import Parameters
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Job, Sweep, Trial
from jobs.webhooks import events

IDLE = (Status.QUEUED, Status.PAUSED)
"""Statuses of a job that has been submitted and does not run."""
ROWS = 500  # of one INSERT


@dataclass(frozen=True)
class Progress:
    """How many trials of a sweep have which status."""

    done: int = 0
    running: int = 0
    waiting: int = 0
    """Not submitted yet, or queued, or paused."""
    failed: int = 0
    cancelled: int = 0
    """Cancelled one by one, or with the whole sweep."""
    pruned: int = 0
    total: int = 0
    """All trials that the sweep will have; a search chooses them one by one."""


@dataclass(frozen=True)
class Best:
    trial: int
    job_id: str | None
    parameters: Parameters
    value: float


def create(
    session: OwnTransaction,
    spec: SweepSpec,
    combinations: Sequence[Parameters],
    *,
    key: str | None = None,
    body: object = None,
) -> Sweep:
    """Writes a sweep and the trials of its grid, none of them submitted yet. The driver does the rest."""
    sweep = Sweep(
        id=new_id("sweep"),
        status=SweepStatus.RUNNING,
        spec=spec.model_dump(mode="json"),
        idempotency_key=key,
        body_sha256=_digest(body),
        created_at=now(session),
    )
    session.add(sweep)
    session.flush()
    if spec.grid is not None:
        add_trials(session, sweep.id, 0, combinations)
    return sweep


def add_trials(session: OwnTransaction, sweep_id: str, first: int, found: Sequence[Parameters]) -> None:
    """Adds waiting trials, numbered from `first` on."""
    rows = [
        {"sweep_id": sweep_id, "number": number, "status": TrialStatus.WAITING, "parameters": parameters}
        for number, parameters in enumerate(found, start=first)
    ]
    for at in range(0, len(rows), ROWS):
        session.execute(insert(Trial), rows[at : at + ROWS])


def created_before(session: OwnTransaction, key: str | None, body: object) -> Sweep | None:
    """The sweep that an earlier request with this key made, if any. Serialises requests with the same key.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    if key is None:
        return None
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"sweep {session.scope.id} {key}", 0))))
    sweep = session.execute(select(Sweep).where(Sweep.idempotency_key == key)).scalar_one_or_none()
    if sweep is not None and sweep.body_sha256 != _digest(body):
        raise IdempotencyMismatch(key)
    return sweep


def _digest(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def get(session: OwnTransaction, sweep_id: str) -> Sweep:
    sweep = session.get(Sweep, sweep_id)
    if sweep is None:
        raise NotFound("sweep", sweep_id)
    return sweep


def lock(session: OwnTransaction, sweep_id: str) -> Sweep:
    """The sweep's row, locked until the transaction ends. Waits while another transaction has it locked."""
    sweep = try_lock(session, sweep_id, wait=True)
    if sweep is None:
        raise NotFound("sweep", sweep_id)
    return sweep


def try_lock(session: OwnTransaction, sweep_id: str, *, wait: bool = False) -> Sweep | None:
    """The sweep's row, locked; None if it is gone or, unless `wait`, another transaction has it locked."""
    query = select(Sweep).where(Sweep.id == sweep_id).with_for_update(skip_locked=not wait)
    return session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()


def list_sweeps(
    session: OwnTransaction, *, status: Sequence[str] = (), limit: int = 20, after: str | None = None
) -> Page:
    """Newest first."""
    query = select(Sweep)
    if status:
        query = query.where(Sweep.status.in_(status))
    return page(session, query, Sweep.id, {"list": "sweeps", "status": sorted(status)}, limit, after)


def unfinished(session: ServiceTransaction) -> Sequence[Sweep]:
    """Sweeps that have not ended, oldest first."""
    return session.execute(select(Sweep).where(Sweep.status.not_in(SWEEP_FINAL)).order_by(Sweep.id)).scalars().all()


def trials_of(
    session: OwnTransaction, sweep_id: str, *, after: int = -1, limit: int | None = None
) -> Sequence[Row[Trial, str | None]]:
    """`(trial, status of its job)` in order of their numbers."""
    query = (
        select(Trial, Job.status)
        .outerjoin(Job, Job.id == Trial.job_id)
        .where(Trial.sweep_id == sweep_id, Trial.number > after)
        .order_by(Trial.number)
        .limit(limit)
    )
    return session.execute(query.execution_options(populate_existing=True)).all()


def shown_status(trial: Trial, job_status: str | None) -> TrialStatus:
    """The status of a trial for people: one whose job is queued or paused is waiting, it does not run."""
    if trial.status == TrialStatus.RUNNING and job_status in IDLE:
        return TrialStatus.WAITING
    return TrialStatus(trial.status)


def spec_of(sweep: Sweep) -> SweepSpec:
    """A sweep's stored spec.

    Raises:
        Unreadable: another version stored it.
    """
    require_readable(sweep)
    try:
        return SweepSpec.model_validate(sweep.spec)
    except ValidationError as error:
        (where, why), *_ = [(one.pointer, one.reason) for one in explain(error, None, json.dumps)]
        raise Unreadable(f"spec{where}: {why}") from None


def fail_unreadable(session: OwnTransaction, sweep: Sweep, reason: str) -> None:
    """Ends a *locked* sweep whose spec cannot be read, so that it can be deleted. Its jobs go on."""
    session.execute(
        update(Trial)
        .where(Trial.sweep_id == sweep.id, Trial.status.in_((TrialStatus.WAITING, TrialStatus.RUNNING)))
        .values(status=TrialStatus.CANCELLED, message="The sweep's spec cannot be read.")
    )
    stamp = now(session)  # before any change: a query flushes, and half a change breaks the constraints
    message = f"What is stored of the sweep cannot be read: {reason}. Its jobs go on."
    sweep.status, sweep.message, sweep.finished_at = SweepStatus.FAILED, message, stamp
    session.flush()
    events.sweep_finished(session, sweep)


def progress_of(session: OwnTransaction, sweeps: Sequence[Sweep]) -> dict[str, Progress]:
    """By the sweep's id. Raises Unreadable for a sweep whose spec cannot be read."""
    ids = [sweep.id for sweep in sweeps]
    idle = (Trial.status == TrialStatus.RUNNING) & Job.status.in_(IDLE)
    at = case((idle, TrialStatus.WAITING.value), else_=Trial.status).label("at")
    rows = session.execute(
        select(Trial.sweep_id, at, func.count())
        .outerjoin(Job, Job.id == Trial.job_id)
        .where(Trial.sweep_id.in_(ids))
        .group_by(Trial.sweep_id, at)
    )
    counts: dict[str, dict[str, int]] = {id: {} for id in ids}
    for sweep_id, status, count in rows:
        counts[sweep_id][status] = count
    return {sweep.id: _progress(counts[sweep.id], spec_of(sweep).size) for sweep in sweeps}


def _progress(counts: Mapping[str, int], total: int) -> Progress:
    def of(*statuses: TrialStatus) -> int:
        return sum(counts.get(status, 0) for status in statuses)

    return Progress(
        done=of(TrialStatus.SUCCEEDED),
        running=of(TrialStatus.RUNNING),
        waiting=of(TrialStatus.WAITING),
        failed=of(TrialStatus.FAILED),
        cancelled=of(TrialStatus.CANCELLED),
        pruned=of(TrialStatus.PRUNED),
        total=total,
    )


def best_of(session: OwnTransaction, sweep: Sweep) -> Best | None:
    """The finished trial with the best value; the first one of equals."""
    value = Trial.value.desc() if sweep.spec["direction"] == "maximize" else Trial.value.asc()
    row = session.execute(
        select(Trial)
        .where(Trial.sweep_id == sweep.id, Trial.status == TrialStatus.SUCCEEDED, Trial.value.is_not(None))
        .order_by(value, Trial.number)
        .limit(1)
    ).scalar_one_or_none()
    if row is None or row.value is None:
        return None
    return Best(row.number, row.job_id, row.parameters, row.value)


def ask_cancel(session: OwnTransaction, sweep_id: str) -> Sweep:
    """Cancels the sweep: no further trial starts, and the driver cancels those that run. Idempotent.

    Raises:
        Conflict: the sweep has ended.
    """
    sweep = lock(session, sweep_id)
    if sweep.status in (SweepStatus.CANCELLING, SweepStatus.CANCELLED):
        return sweep
    if sweep.status in SWEEP_FINAL:
        raise Conflict(f"The sweep has already {sweep.status}; only an unfinished sweep can be cancelled.")
    sweep.status = SweepStatus.CANCELLING
    session.execute(
        update(Trial)
        .where(Trial.sweep_id == sweep_id, Trial.status == TrialStatus.WAITING)
        .values(status=TrialStatus.CANCELLED, message="The sweep was cancelled.")
    )
    session.flush()
    return sweep


def remove(session: OwnTransaction, sweep_id: str) -> None:
    """Deletes a sweep that has ended, with its trials. Its jobs stay.

    Raises:
        Conflict: it has not ended.
    """
    sweep = lock(session, sweep_id)
    if sweep.status not in SWEEP_FINAL:
        raise Conflict(f"The sweep is {sweep.status}; cancel it and wait until it has ended before deleting it.")
    session.execute(delete(Sweep).where(Sweep.id == sweep_id))


def sweep_of(session: OwnTransaction, job_id: str) -> Sweep | None:
    """The sweep whose trial this job is, locked; None for a job of its own."""
    found = session.execute(select(Trial.sweep_id).where(Trial.job_id == job_id)).scalar_one_or_none()
    return None if found is None else try_lock(session, found, wait=True)


def adopt(session: OwnTransaction, sweep: Sweep | None, old_job: str, new_job: str) -> bool:
    """Puts a retry in the place of a trial's job that failed or was cancelled: the trial runs again.

    A sweep that had ended is open again until the retry has ended. If the sweep was cancelled, or the trial has a
    value, nothing is changed: such a retry is a job of its own.

    Args:
        sweep: what `sweep_of(old_job)` gave, before the job was locked.
    """
    if sweep is None or sweep.status in (SweepStatus.CANCELLING, SweepStatus.CANCELLED):
        return False
    failed = select(Job.id).where(Job.id == old_job, Job.status != Status.SUCCEEDED)
    taken = session.execute(
        update(Trial)
        .where(
            Trial.sweep_id == sweep.id,
            Trial.job_id.in_(failed),
            Trial.status.in_((TrialStatus.RUNNING, TrialStatus.FAILED, TrialStatus.CANCELLED)),
        )
        .values(
            job_id=new_job, status=TrialStatus.RUNNING, message=None, value=None, seconds=None, curve=None, curve_seq=0
        )
        .returning(Trial.number)
    ).first()
    if taken is None:
        return False
    sweep.status, sweep.finished_at, sweep.message = SweepStatus.RUNNING, None, None
    session.flush()
    return True


def open_jobs(session: OwnTransaction, sweep_id: str) -> Sequence[Row[str, str]]:
    """`(job, status)` of the children that have not ended, pruned ones included that still stop."""
    query = (
        select(Job.id, Job.status)
        .join(Trial, Trial.job_id == Job.id)
        .where(Trial.sweep_id == sweep_id, Job.status.not_in(FINAL))
    )
    return session.execute(query).all()
