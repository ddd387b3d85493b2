"""What a worker does to a job that it has claimed (`queue.claim`): write under its fence.

Every transaction of an attempt opens with `lock`: one UPDATE that locks the job's row, checks the fence and renews the
lease. A bare `INSERT … WHERE fence = …` would not do: it commits also when the fence moves on before it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from jobs.clock import now_ms
from jobs.errors import FenceLost
from jobs.repository.core import append_events, change_status, upsert
from jobs.states import OWNED, Cause, FailureCode, Status
from jobs.tables import Artifact, Attempt, Checkpoint, Job, LogChunk, Metric, Model


@dataclass(frozen=True)
class Claim:
    """One attempt's title to its job."""

    job_id: str
    fence: int
    attempt: int
    kind: str
    spec: Mapping[str, Any]
    max_attempts: int
    faults: int
    device: str
    """Which of the worker's devices it runs on: `cpu`, `cuda:1`."""
    threads: int | None
    """Threads that the first attempt froze; None: this one chooses."""


@dataclass(frozen=True)
class Stored:
    """A blob in the artifact store."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class NewArtifact:
    name: str
    kind: str
    media_type: str
    stored: Stored


def lock(session: Session, claim: Claim, lease_ms: int) -> Job:
    """Locks the job's row for this attempt and renews the lease.

    Raises:
        FenceLost: the job has another owner, or is gone.
    """
    job = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.fence == claim.fence, Job.status.in_(OWNED))
        .values(lease_expires_at=now_ms() + lease_ms)
        .returning(Job)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalar_one_or_none()
    if job is None:
        raise FenceLost(f"Attempt {claim.attempt} of {claim.job_id} no longer owns the job.")
    return job


def status(session: Session, claim: Claim) -> Status:
    """What is asked of this attempt: `running`, `pausing` or `cancelling`. Raises FenceLost."""
    found = session.execute(
        select(Job.status).where(Job.id == claim.job_id, Job.fence == claim.fence, Job.status.in_(OWNED))
    ).scalar_one_or_none()
    if found is None:
        raise FenceLost(f"Attempt {claim.attempt} of {claim.job_id} no longer owns the job.")
    return Status(found)


def metric_cursor(session: Session, job_id: str) -> dict[str, int]:
    """The last step of each metric, so that a resumed attempt repeats nothing."""
    rows = session.execute(
        select(Metric.name, func.max(Metric.step)).where(Metric.job_id == job_id).group_by(Metric.name)
    )
    return {row[0]: row[1] for row in rows}


def add_metrics(session: Session, job: Job, points: Sequence[Mapping[str, Any]]) -> None:
    """Appends points `{name, step, epoch, value, time}` to a *locked* job; one that is there already stays."""
    if not points:
        return
    rows = [{"job_id": job.id, "seq": job.last_seq + i, **point} for i, point in enumerate(points, start=1)]
    session.execute(upsert(session, Metric).on_conflict_do_nothing(index_elements=["job_id", "name", "step"]), rows)
    job.last_seq += len(rows)


def add_log(session: Session, job: Job, text: str) -> None:
    session.execute(insert(LogChunk).values(job_id=job.id, offset=job.log_bytes, text=text))
    job.log_bytes += len(text.encode())


def add_checkpoint(session: Session, job: Job, step: int, stored: Stored, keep: int) -> list[str]:
    """Publishes a checkpoint of a *locked* job and forgets all but the newest `keep`. Returns their sha256."""
    insertion = upsert(session, Checkpoint).values(
        job_id=job.id, step=step, sha256=stored.sha256, bytes=stored.bytes, created_at=now_ms()
    )
    fresh = {"sha256": stored.sha256, "bytes": stored.bytes, "created_at": now_ms()}
    session.execute(insertion.on_conflict_do_update(index_elements=["job_id", "step"], set_=fresh))
    newest = select(Checkpoint.step).where(Checkpoint.job_id == job.id).order_by(Checkpoint.step.desc()).limit(keep)
    steps = list(session.execute(newest).scalars())
    old = delete(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step.not_in(steps))
    return list(session.execute(old.returning(Checkpoint.sha256)).scalars())


def checkpoints(session: Session, job_id: str) -> list[tuple[int, Stored]]:
    """Newest first."""
    rows = session.execute(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()))
    return [(row.step, Stored(row.sha256, row.bytes)) for row in rows.scalars()]


def add_artifacts(session: Session, job: Job, artifacts: Sequence[NewArtifact]) -> None:
    """Publishes artifacts of a *locked* job; a later one of the same name replaces the earlier."""
    for new in artifacts:
        values = {
            "kind": new.kind,
            "media_type": new.media_type,
            "sha256": new.stored.sha256,
            "bytes": new.stored.bytes,
            "created_at": now_ms(),
        }
        insertion = upsert(session, Artifact).values(job_id=job.id, name=new.name, **values)
        session.execute(insertion.on_conflict_do_update(index_elements=["job_id", "name"], set_=values))


def end_attempt(session: Session, job: Job, cause: Cause, message: str) -> None:
    """Says in the attempt's row why it ended; call it while the job's row is *locked*, before its status changes."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.attempt == job.attempt, Attempt.ended_at.is_(None))
        .values(ended_at=now_ms(), cause=cause, message=message)
    )


def finish(session: Session, job: Job, to: Status, message: str, error: Mapping[str, Any] | None = None) -> None:
    """Ends a *locked* job."""
    end_attempt(session, job, Cause(error["code"] if error else to), message)
    if error is not None:
        job.error = dict(error)
    change_status(session, job, to, message, {"code": error["code"]} if error else None)


def publish_model(session: Session, job: Job, model: Model) -> None:
    session.add(model)
    session.flush()
    job.model_id = model.id
    append_events(
        session, job, [{"type": "model", "message": f"Published {model.id}.", "data": {"model_id": model.id}}]
    )


def hand_back(session: Session, job: Job, to: Status, message: str, cause: Cause | None = None) -> None:
    """Gives a *locked* job up without a fault: drained to `queued`, or `paused`. The fence moves on with it."""
    end_attempt(session, job, cause or (Cause.PAUSED if to is Status.PAUSED else Cause.HANDED_BACK), message)
    job.fence += 1
    change_status(session, job, to, message)


def fault(session: Session, job: Job, reason: str, log_tail: str | None = None) -> None:
    """A fault that is not of the job's making ended the attempt of a *locked* job: queue it again, or give up.

    A job whose cancel or pause was asked for meanwhile gets that instead.
    """
    end_attempt(session, job, Cause.WORKER_LOST, reason)
    job.fence += 1
    job.faults += 1
    if job.status == Status.CANCELLING:
        change_status(session, job, Status.CANCELLED, f"Cancelled. {reason}")
    elif job.status == Status.PAUSING:
        change_status(session, job, Status.PAUSED, f"Paused at its last checkpoint. {reason}")
    elif job.faults >= job.max_attempts:
        message = f"{reason} It was attempt {job.faults} of at most {job.max_attempts} (limits.max_attempts)."
        job.error = {"code": FailureCode.WORKER_LOST, "message": message, "log_tail": log_tail or ""}
        change_status(session, job, Status.FAILED, message, {"code": FailureCode.WORKER_LOST})
    else:
        change_status(session, job, Status.QUEUED, f"{reason} Queued again.", {"code": FailureCode.WORKER_LOST})
