"""What users do with jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select

from jobs.access import limits
from jobs.access.scope import OwnTransaction, Transaction, across
from jobs.clock import now_ms
from jobs.errors import Conflict, IdempotencyMismatch, NotFound
from jobs.ids import new_id
from jobs.repository import attempts, datasets, keeping, models, queue
from jobs.repository.attempts import Stored
from jobs.repository.core import append_events, change_status, lock_job, now, queue_wakeup
from jobs.repository.indexing import index_job
from jobs.scheduling import Rules, label_share_of, needs_memory_mb, share_of, work_of
from jobs.spec import BenchmarkSpec, EvaluateSpec, IngestSpec, QuantizeSpec, Spec, TrainSpec
from jobs.states import FINAL, OWNED, Status
from jobs.tables import Artifact, Checkpoint, IdempotencyKey, Job, Label, Model


@dataclass(frozen=True)
class Submission:
    job: Job
    created: bool
    """False: an earlier request with the same key made it."""


def submit(
    session: OwnTransaction,
    spec: Spec,
    *,
    key: str | None = None,
    body: object = None,
    retry_of: str | None = None,
    continued_from: str | None = None,
    rules: Rules = Rules(),
) -> Submission:
    """Writes a job's row, labels, first event and wake-up in the caller's transaction.

    Args:
        key: the request's `Idempotency-Key`; `body` is then the parsed request, compared with the first one's.

    Raises:
        IdempotencyMismatch: the key was used with another body.
        QueueFull: `rules.max_queued` jobs wait already.
        QuotaExceeded: the project has reached a limit of its own.
        Conflict: the spec's dataset, or a model that it names, has been deleted.
    """
    if (earlier := submitted_before(session, key, body)) is not None:
        return Submission(earlier, created=False)
    own = limits.enter(session)
    limits.require_priority(own, spec.priority)
    limits.require_room(session, own)
    seconds = limits.seconds_allowed(own, spec.limits.max_seconds)
    if seconds != spec.limits.max_seconds:
        spec = spec.model_copy(update={"limits": spec.limits.model_copy(update={"max_seconds": seconds})})
    if not isinstance(spec, IngestSpec | BenchmarkSpec):
        datasets.hold(session, spec.dataset.name)
    models.hold(session, models.models_of(spec.model_dump(mode="json")))
    job = _queued(session, spec, rules)
    job.retry_of, job.continued_from = retry_of, continued_from
    with across(session):
        queue.require_room(session, rules.max_queued)
        job.turn = queue.turn_for(session, job, rules)
    job.label_turn = queue.label_turn_for(session, job)
    session.add(job)
    session.flush()
    if spec.labels:
        session.execute(insert(Label), [{"job_id": job.id, "key": k, "value": v} for k, v in spec.labels.items()])
    index_job(session, job, spec.labels)
    append_events(session, job, [{"type": "status", "message": "Queued.", "data": {"from": None, "to": Status.QUEUED}}])
    queue_wakeup(session, job.id)
    if key is not None:
        session.execute(
            insert(IdempotencyKey).values(key=key, body_sha256=_digest(body), job_id=job.id, created_at=job.created_at)
        )
    session.flush()
    return Submission(job, created=True)


def _queued(session: OwnTransaction, spec: Spec, rules: Rules) -> Job:
    """The row of a new job, without its turn and not yet part of the transaction."""
    stamp = now(session)
    return Job(
        id=new_id("job"),
        kind=spec.kind,
        status=Status.QUEUED,
        spec=spec.model_dump(mode="json"),
        priority=spec.priority,
        needs_device=spec.resources.device,
        needs_memory_mb=needs_memory_mb(spec.resources.memory_gb, spec.resources.ranks),
        any_environment=not spec.resources.exact,
        share=share_of(session.scope, spec, rules),
        label_share=label_share_of(spec, rules),
        work=work_of(spec, _manifest(session, spec)),
        max_attempts=spec.limits.max_attempts,
        created_at=stamp,
        queued_at=stamp,
        attempt=0,
        faults=0,
        fence=0,
        last_seq=0,
        log_bytes=0,
        dataset=None if isinstance(spec, IngestSpec | BenchmarkSpec) else spec.dataset.name,
    )


def imagined(session: OwnTransaction, spec: Spec, rules: Rules) -> Job:
    """The row that a submission would write now, with its turn. It is not written: a forecast takes it."""
    job = _queued(session, spec, rules)
    with across(session):
        job.turn = queue.likely_turn(session, job, rules)
    return job


def _manifest(session: OwnTransaction, spec: Spec) -> dict[str, Any] | None:
    """The manifest of the model that an evaluation or a quantisation names, or of a training's teacher; None without
    such a model."""
    if isinstance(spec, TrainSpec):
        model = session.get(Model, spec.distill.teacher) if spec.distill and spec.distill.teacher else None
    else:
        model = session.get(Model, spec.model_id) if isinstance(spec, EvaluateSpec | QuantizeSpec) else None
    return None if model is None else model.manifest


def submitted_before(session: OwnTransaction, key: str | None, body: object) -> Job | None:
    """The job that an earlier request with this key made, if any. Serialises requests with the same key.

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    earlier = None if key is None else _claim_key(session, key, body)
    return None if earlier is None else get(session, earlier)


def _digest(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _claim_key(session: OwnTransaction, key: str, body: object) -> str | None:
    """The id of the job an earlier request with this key made, if any. Serialises requests with the same key."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{session.scope.id} {key}", 0))))
    row = session.execute(select(IdempotencyKey).where(IdempotencyKey.key == key)).scalar_one_or_none()
    if row is None:
        return None
    if row.body_sha256 != _digest(body):
        raise IdempotencyMismatch(key)
    return row.job_id


def get(session: OwnTransaction, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound("job", job_id)
    return job


def labels_of(session: OwnTransaction, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    return keeping.labels_of(session, Label, Label.job_id, job_ids)


def cancel(session: OwnTransaction, job_id: str) -> Job:
    """Cancels a job: at once if it does not run, else its supervisor sees `cancelling` and stops the child.
    Idempotent."""
    job = lock_job(session, job_id)
    status = Status(job.status)
    if status in (Status.CANCELLING, Status.CANCELLED):
        return job
    if status.final:
        raise Conflict(f"The job has already {status}; only an unfinished job can be cancelled.")
    if status.owned:
        change_status(session, job, Status.CANCELLING, "Cancel was asked for; the training saves its state and stops.")
    else:
        if job.attempt == 0:
            job.turn = 0  # a job that never ran does not count for its share
            job.label_turn = None
        change_status(session, job, Status.CANCELLED, "Cancelled before it ran." if job.attempt == 0 else "Cancelled.")
    session.flush()
    return job


def pause(session: OwnTransaction, job_id: str) -> Job:
    job = lock_job(session, job_id)
    if job.status not in (Status.PAUSING, Status.PAUSED):
        if job.status != Status.RUNNING:
            raise Conflict(f"The job is {job.status}; only a running job can be paused.")
        change_status(session, job, Status.PAUSING, "Pause was asked for; the training saves its state and stops.")
    session.flush()
    return job


def resume(session: OwnTransaction, job_id: str) -> Job:
    job = lock_job(session, job_id)
    if job.status != Status.PAUSED:
        raise Conflict(f"The job is {job.status}; only a paused job can be resumed.")
    limits.require_room(session, limits.own_limits(session))
    change_status(session, job, Status.QUEUED, "Resumed; queued to go on from its last checkpoint.")
    session.flush()
    return job


def retry(
    session: OwnTransaction,
    job_id: str,
    spec: Spec,
    *,
    from_checkpoint: bool,
    rules: Rules = Rules(),
) -> Job:
    """Makes a new job with the old one's spec and labels. With `from_checkpoint` it gets the old one's newest
    checkpoint.

    It gets a new place in the queue, and any worker may take it: the old job's environment does not bind it.

    Raises:
        Conflict: the old one has not ended, or left no checkpoint to go on from.
        QueueFull: `rules.max_queued` jobs wait already.
    """
    old = lock_job(session, job_id)
    if old.status not in FINAL:
        raise Conflict(f"The job is {old.status}; only a finished job can be retried. Cancel it first.")
    own, start = attempts.resume_points(session, job_id)
    if from_checkpoint and not own:
        raise Conflict("The job left no checkpoint to go on from. Retry it with from=start.")
    if old.continued_from is not None and start is None:
        raise Conflict(
            f"The checkpoint of {old.continued_from}, from which the job went on, is no longer kept. Submit a training "
            "with init_from, which starts from that job's model."
        )
    job = submit(session, spec, retry_of=job_id, continued_from=old.continued_from, rules=rules).job
    if start is not None:
        _give_checkpoint(session, job, attempts.START, start)
    if from_checkpoint:
        step, newest = own[0]
        _give_checkpoint(session, job, step, newest)
        message = f"Goes on from step {step} of {job_id}{_on(old)}."
        append_events(session, job, [{"type": "resume", "message": message}])
    session.flush()
    return job


def continue_training(
    session: OwnTransaction,
    job_id: str,
    spec: TrainSpec,
    *,
    key: str | None = None,
    body: object = None,
    rules: Rules = Rules(),
) -> Submission:
    """Makes a new training that goes on from a finished one's newest checkpoint.

    Args:
        spec: of the new training; the same network on the same dataset, with its own epochs and learning rate.
        key: as for `submit`.

    Raises:
        Conflict: the old one has not ended, or its checkpoints are gone.
        IdempotencyMismatch: the key was used with another body.
        QueueFull: `rules.max_queued` jobs wait already.
    """
    old = lock_job(session, job_id)
    if old.status not in FINAL:
        raise Conflict(f"The job is {old.status}; only a finished training can be continued.")
    found = attempts.checkpoints(session, job_id)
    if not found:
        model = f'"init_from": "{old.model_id}"' if old.model_id else "init_from, where it has published a model"
        raise Conflict(
            f"The job's checkpoints are no longer kept. Submit a training with {model} instead: it starts from the "
            "weights alone, without the optimizer's momentum."
        )
    made = submit(session, spec, key=key, body=body, continued_from=job_id, rules=rules)
    if made.created:
        step, newest = found[0]
        _give_checkpoint(session, made.job, attempts.START, newest)
        message = f"Goes on from step {step} of {job_id}{_on(old)}."
        append_events(session, made.job, [{"type": "continue", "message": message}])
        session.flush()
    return made


def _give_checkpoint(session: OwnTransaction, job: Job, step: int, stored: Stored) -> None:
    """Names a stored checkpoint of another job as one of this job's."""
    session.execute(
        insert(Checkpoint).values(
            job_id=job.id, step=step, sha256=stored.sha256, bytes=stored.bytes, created_at=now_ms()
        )
    )


def _on(old: Job) -> str:
    return f", which ran on {old.environment_key}; elsewhere the last bits differ" if old.environment_key else ""


def delete_job(session: Transaction, job_id: str) -> list[str]:
    """Deletes a finished job. Returns the sha256 of its blobs, for `ArtifactStore.discard`."""
    job = lock_job(session, job_id)
    if job.status in OWNED or job.status not in FINAL:
        raise Conflict(f"The job is {job.status}; cancel it and wait until it has ended before deleting it.")
    stored = [
        *session.execute(select(Artifact.sha256).where(Artifact.job_id == job_id)).scalars(),
        *session.execute(select(Checkpoint.sha256).where(Checkpoint.job_id == job_id)).scalars(),
    ]
    session.execute(delete(Job).where(Job.id == job_id))
    return stored
