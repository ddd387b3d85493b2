"""What a worker writes of a job that it has claimed (`queue.claim`), under its fence.

Every transaction of an attempt opens with `lock`: one UPDATE that locks the job's row, checks the fence and renews the
lease. A bare `INSERT … WHERE fence = …` would not suffice: it also commits if the fence rises before it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update

from jobs.access import accounting, limits
from jobs.access.scope import OwnTransaction, Project, Transaction
from jobs.clock import now_ms
from jobs.environment import environment_key
from jobs.errors import FenceLost
from jobs.repository.core import append_events, change_status, now, upsert
from jobs.repository.indexing import index_new_model
from jobs.states import OWNED, Cause, FailureCode, Status
from jobs.tables import Artifact, Attempt, Checkpoint, Job, LogChunk, Metric, Model
from jobs.webhooks import events


@dataclass(frozen=True)
class Claim:
    """A worker's claim to a job: one attempt."""

    project: Project
    """Whose job it is: the attempt reads and writes as this project."""
    job_id: str
    fence: int
    attempt: int
    kind: str
    spec: Mapping[str, Any]
    max_attempts: int
    faults: int
    device: str
    """The worker's device that it runs on: `cpu`, `cuda:1`."""
    threads: int | None
    """Number of threads of the first attempt, which later ones keep; None: this is the first one."""
    environment_key: str | None = None
    """Environment of the first attempt, which later ones keep; None: this is the first one."""


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


LOG = "log.txt"


def log_artifact(stored: Stored) -> NewArtifact:
    """The artifact with the whole log of a job that has ended."""
    return NewArtifact(LOG, "log", "text/plain; charset=utf-8", stored)


def lock(session: Transaction, claim: Claim, lease_ms: int) -> Job:
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


def status(session: Transaction, claim: Claim) -> Status:
    """The job's status, by which users ask the attempt to stop: `running`, `pausing` or `cancelling`. Raises
    FenceLost."""
    found = session.execute(
        select(Job.status).where(Job.id == claim.job_id, Job.fence == claim.fence, Job.status.in_(OWNED))
    ).scalar_one_or_none()
    if found is None:
        raise FenceLost(f"Attempt {claim.attempt} of {claim.job_id} no longer owns the job.")
    return Status(found)


def metric_cursor(session: Transaction, job_id: str) -> dict[str, int]:
    """The last step of each metric, so that a resumed attempt writes no point twice."""
    rows = session.execute(
        select(Metric.name, func.max(Metric.step)).where(Metric.job_id == job_id).group_by(Metric.name)
    )
    return {row[0]: row[1] for row in rows}


def add_metrics(session: Transaction, job: Job, points: Sequence[Mapping[str, Any]]) -> None:
    """Appends points `{name, step, epoch, value, time}` to a *locked* job. A point that is there already stays as it
    is."""
    if not points:
        return
    rows = [{"job_id": job.id, "seq": job.last_seq + i, **point} for i, point in enumerate(points, start=1)]
    session.execute(upsert(session, Metric).on_conflict_do_nothing(index_elements=["job_id", "name", "step"]), rows)
    job.last_seq += len(rows)


def add_log(session: Transaction, job: Job, text: str) -> None:
    session.execute(insert(LogChunk).values(job_id=job.id, offset=job.log_bytes, text=text))
    job.log_bytes += len(text.encode())


def add_checkpoint(session: Transaction, job: Job, step: int, stored: Stored, keep: int) -> list[str]:
    """Publishes a checkpoint of a *locked* job and removes all but the newest `keep`. Returns the sha256 of those
    removed."""
    insertion = upsert(session, Checkpoint).values(
        job_id=job.id, step=step, sha256=stored.sha256, bytes=stored.bytes, created_at=now_ms()
    )
    fresh = {"sha256": stored.sha256, "bytes": stored.bytes, "created_at": now_ms()}
    session.execute(insertion.on_conflict_do_update(index_elements=["job_id", "step"], set_=fresh))
    own = (Checkpoint.job_id == job.id, Checkpoint.step > START)
    newest = select(Checkpoint.step).where(*own).order_by(Checkpoint.step.desc()).limit(keep)
    steps = list(session.execute(newest).scalars())
    old = delete(Checkpoint).where(*own, Checkpoint.step.not_in(steps))
    return list(session.execute(old.returning(Checkpoint.sha256)).scalars())


def hold_to_storage(session: OwnTransaction, job: Job) -> None:
    """Asks a *locked* running job to pause where its project stores more than it may."""
    over = limits.over_storage(session) if job.status == Status.RUNNING else None
    if over is not None:
        message = f"{over} Delete models, datasets or jobs, then resume it."
        change_status(session, job, Status.PAUSING, message, {"limit": "max_storage_bytes"})


START: Final = 0
"""The step of the checkpoint that a job has from the training that it goes on from.

It is kept: should all newer ones be damaged, an attempt begins there again. A training has none of its own before its
first step.
"""


def resume_points(session: Transaction, job_id: str) -> tuple[list[tuple[int, Stored]], Stored | None]:
    """A job's own checkpoints, newest first, and that of the training that it goes on from."""
    found = checkpoints(session, job_id)
    return [(step, stored) for step, stored in found if step > START], dict(found).get(START)


def checkpoints(session: Transaction, job_id: str) -> list[tuple[int, Stored]]:
    """Newest first."""
    rows = session.execute(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()))
    return [(row.step, Stored(row.sha256, row.bytes)) for row in rows.scalars()]


def add_artifacts(session: Transaction, job: Job, artifacts: Sequence[NewArtifact]) -> None:
    """Publishes artifacts of a *locked* job. A later one replaces an earlier one of the same name."""
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


def end_attempt(session: Transaction, job: Job, cause: Cause, message: str) -> None:
    """Records in the attempt's row why it ended. Call it while the job is *locked*, before its status changes."""
    ended = session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.attempt == job.attempt, Attempt.ended_at.is_(None))
        .values(ended_at=now_ms(), cause=cause, message=message)
        .returning(Attempt.device, Attempt.started_at, Attempt.ended_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if ended is not None:  # an attempt ends once, and so its time is counted once
        accounting.enter(session, job.project_id, ended.device, ended.started_at, ended.ended_at or ended.started_at)


def finish(session: Transaction, job: Job, to: Status, message: str, error: Mapping[str, Any] | None = None) -> None:
    """Ends a *locked* job."""
    end_attempt(session, job, Cause(error["code"] if error else to), message)
    if error is not None:
        job.error = dict(error)
    change_status(session, job, to, message, {"code": error["code"]} if error else None)


def publish_model(session: Transaction, job: Job, model: Model) -> None:
    model.project_id = job.project_id
    session.add(model)
    session.flush()
    index_new_model(session, model)
    job.model_id = model.id
    append_events(
        session, job, [{"type": "model", "message": f"Published {model.id}.", "data": {"model_id": model.id}}]
    )
    events.model_published(session, model)


def hand_back(session: Transaction, job: Job, to: Status, message: str) -> None:
    """Gives a *locked* job back without a fault: to `queued` or to `paused`. Raises the fence."""
    end_attempt(session, job, Cause.PAUSED if to is Status.PAUSED else Cause.HANDED_BACK, message)
    job.fence += 1
    change_status(session, job, to, message)


def suspend(session: Transaction, job: Job, cause: Cause, message: str) -> None:
    """Pauses a *locked* job that cannot go on until somebody has repaired what `message` names. It is no fault."""
    end_attempt(session, job, cause, message)
    job.fence += 1
    if job.status == Status.RUNNING:
        change_status(session, job, Status.PAUSING, message, {"cause": cause})
    change_status(session, job, Status.PAUSED, f"Paused: {message}", {"cause": cause})


def fault(session: Transaction, job: Job, reason: str, log_tail: str | None = None) -> None:
    """Ends the attempt of a *locked* job after a fault that the job did not cause: queues it again, or fails it for
    good.

    If a cancel or a pause was asked for meanwhile, the job is cancelled or paused instead.
    """
    end_attempt(session, job, Cause.WORKER_LOST, reason)
    job.fence += 1
    job.faults += 1
    if job.status == Status.CANCELLING:
        change_status(session, job, Status.CANCELLED, f"Cancelled. {reason}")
    elif job.status == Status.PAUSING:
        change_status(session, job, Status.PAUSED, f"Paused at its last checkpoint. {reason}")
    elif job.faults >= job.max_attempts:
        message = f"{reason} {GIVEN_UP.format(faults=_times(job.faults), limit=job.max_attempts)}"
        job.error = {"code": FailureCode.WORKER_LOST, "message": message, "log_tail": log_tail or ""}
        change_status(session, job, Status.FAILED, message, {"code": FailureCode.WORKER_LOST})
    else:
        change_status(session, job, Status.QUEUED, f"{reason} Queued again.", {"code": FailureCode.WORKER_LOST})


GIVEN_UP = (
    "Its worker was lost {faults}, and limits.max_attempts is {limit}. It may be this job that ends its workers: look "
    "at its log and its memory (a smaller batch_size, a limit in resources.memory_gb). If it was chance, retry it from "
    "its checkpoint."
)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def freeze(job: Job, environment: Mapping[str, Any]) -> None:
    """Records in a *locked* job, once, the environment that later attempts must have for the bytes to stay the same.

    Not for a kind that keeps no checkpoints: each of its attempts starts anew, so any worker may take it.
    """
    if "checkpoint" not in job.spec:
        return
    key = environment_key(environment)
    if job.environment_key is None and key is not None:
        job.environment_key = key
        job.threads = environment["threads"]


def attempts_of(session: Transaction, job_id: str) -> Sequence[Attempt]:
    """The attempts of a job in order. The last one of a running job has no end yet."""
    return session.execute(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.attempt)).scalars().all()


def run_seconds(session: Transaction, job_ids: Sequence[str]) -> dict[str, float]:
    """How long each of these jobs has run: the sum of its attempts' times, the one that runs now included.

    The time that a job waits or is paused does not count. A lost attempt counts until its job was taken back.

    Returns:
        Seconds by job id; a job that has never run is left out.
    """
    if not job_ids:
        return {}
    ran = func.sum(func.coalesce(Attempt.ended_at, now(session)) - Attempt.started_at)
    rows = session.execute(select(Attempt.job_id, ran).where(Attempt.job_id.in_(job_ids)).group_by(Attempt.job_id))
    return {job_id: max(0.0, float(ms) / 1000) for job_id, ms in rows}


@dataclass(frozen=True)
class Mark:
    """What a transaction leaves on the job's row, by which `landed` finds out later whether it was committed."""

    lease_expires_at: int | None
    last_seq: int
    log_bytes: int


def mark_of(job: Job) -> Mark:
    return Mark(job.lease_expires_at, job.last_seq, job.log_bytes)


def landed(session: Transaction, claim: Claim, mark: Mark) -> bool:
    """Whether the attempt's last transaction, whose connection broke at its commit, took place. Locks the job's row.

    Waits for a commit that the server is still about. The stamp of the lease is the transaction's own; the other two
    only rise, by this attempt's writes and by what users do.
    """
    row = session.execute(
        select(Job.lease_expires_at, Job.last_seq, Job.log_bytes)
        .where(Job.id == claim.job_id, Job.fence == claim.fence)
        .with_for_update()
    ).one_or_none()
    return (
        row is not None
        and row.lease_expires_at == mark.lease_expires_at
        and row.last_seq >= mark.last_seq
        and row.log_bytes == mark.log_bytes
    )


def cause_of(session: Transaction, claim: Claim) -> str | None:
    """Why this attempt has ended; None while it runs."""
    return session.execute(
        select(Attempt.cause).where(Attempt.job_id == claim.job_id, Attempt.fence == claim.fence)
    ).scalar_one_or_none()
