"""Checking a submitted spec and making a job of it: what `POST /v1/jobs` and the page *New job* do."""

from __future__ import annotations

from api.access.acting import Acting
from api.http.problems import Problem
from api.jobs import submission
from api.jobs.schemas import Estimate, ModelCounts, Validation
from jobs.access import audit
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.repository import lifecycle
from jobs.spec import SubmittedSpec, TrainSpec
from jobs.tables import Job

COPIES = 3
"""Of each parameter in a training: itself, its gradient and its momentum."""


def validate(service: Acting, document: object) -> Validation:
    """What a spec would become and cost. Raises Problem with a pointer to each bad field."""
    with service.database.read() as session:
        spec = submission.parse_spec(document, session)
        counts = submission.counts_of(spec, submission.require_model(session, spec))
        model = ModelCounts.model_validate(counts.to_dict())
        estimate = _estimate(service, session, spec, model)
    return Validation(spec=spec.model_dump(mode="json"), model=model, estimate=estimate)


def _estimate(service: Acting, session: OwnTransaction, spec: SubmittedSpec, model: ModelCounts) -> Estimate:
    job = lifecycle.imagined(session, spec, service.rules)
    at = service.queue_positions.of_new(session, job)
    return Estimate(
        seconds=service.queue_positions.seconds_of(session, job),
        memory_bytes=_memory(spec, model) if isinstance(spec, TrainSpec) else None,
        queue_position=at.position,
        start_at=at.starts_at,
        waiting_for=at.waiting_for,
    )


def _memory(spec: TrainSpec, model: ModelCounts) -> int:
    return COPIES * model.parameter_bytes + spec.batch_size * model.activation_bytes


def continue_training(service: Acting, id: str, document: object, key: str | None = None) -> tuple[Job, bool]:
    """Queues a training that goes on from a finished one; arguments and answer as of `create`.

    Raises:
        Problem: 422 with a pointer to each bad field; 409 where the finished job cannot be continued.
        NotFound, QueueFull, QuotaExceeded, IdempotencyMismatch, Conflict: as `lifecycle.continue_training`.
    """
    with service.database.write() as session:
        old = lifecycle.get(session, id)
        require_readable(old)
        labels = lifecycle.labels_of(session, [id])[id]
        spec = submission.continued_spec(document, old, labels, session)
        body = {"continue": id, "with": document}
        row = lifecycle.submitted_before(session, key, body)
        created = row is None
        if row is None:
            try:
                submission.require_data(service.settings, spec)
                submission.require_model(session, spec)
            except Problem as problem:
                raise Problem("conflict", f"The job cannot be continued: {problem.detail}") from None
            row = lifecycle.continue_training(session, id, spec, key=key, body=body, rules=service.rules).job
            audit.about(session, row.id, f"of {id}")
        else:
            audit.nothing_done(session)
    if created:
        service.relay.poke()
    return row, created


def create(service: Acting, document: object, key: str | None = None) -> tuple[Job, bool]:
    """Queues a job.

    Args:
        service: acts for the caller.
        document: the spec as it was sent.
        key: the request's Idempotency-Key.

    Returns:
        Its row, and whether this call made it: with a key that was used before it is the earlier one's.

    Raises:
        Problem: 422 with a pointer to each bad field.
        QueueFull, QuotaExceeded, IdempotencyMismatch, Conflict: as `lifecycle.submit`.
    """
    with service.database.read() as session:
        spec = submission.parse_spec(document, session)
    with service.database.write() as session:
        row = lifecycle.submitted_before(session, key, document)
        created = row is None
        if row is None:
            submission.require_data(service.settings, spec)
            submission.require_model(session, spec)
            row = lifecycle.submit(session, spec, key=key, body=document, rules=service.rules).job
            audit.about(session, row.id)
        else:
            audit.nothing_done(session)
    if created:
        service.relay.poke()
    return row, created
