"""Checking a submitted sweep and starting it: what `POST /v1/sweeps` and the page *New job* do."""

from __future__ import annotations

from api.access.acting import Acting
from api.sweeps.schemas import Child, SweepValidation
from api.sweeps.submission import parse_sweep, plan_children, require_references
from jobs.access import audit, limits
from jobs.sweeps import references, repository
from jobs.sweeps.driver import Driver
from jobs.tables import Sweep

FIRST_STEPS = 1
"""Steps that the request itself takes, so that the first jobs exist when it answers. Workers take the others."""


def driver(service: Acting) -> Driver:
    """What makes a sweep's jobs, as far as a request does it."""
    return Driver(service.whole.database, service.rules, searching=False)


def validate(service: Acting, document: object) -> SweepValidation:
    """The jobs that a sweep would make. Raises Problem with a pointer to each bad value."""
    with service.database.read() as session:
        spec = parse_sweep(document, session)
        children = plan_children(service, session, spec)
    planned = [Child(parameters=mine, spec=one.model_dump(mode="json")) for mine, one in children]
    return SweepValidation(jobs=spec.size, spec=spec.model_dump(mode="json"), children=planned)


def create(service: Acting, document: object, key: str | None = None) -> tuple[Sweep, bool]:
    """Starts a sweep.

    Args:
        service: acts for the caller.
        document: the sweep as it was sent.
        key: the request's Idempotency-Key.

    Returns:
        Its row, and whether this call made it: with a key that was used before it is the earlier one's.

    Raises:
        Problem: 422 with a pointer to each bad value.
        QuotaExceeded, IdempotencyMismatch, Conflict: the project's limits, the key, what is deleted meanwhile.
    """
    with service.database.read() as session:
        spec = parse_sweep(document, session)
        children = plan_children(service, session, spec)
    with service.database.write() as session:
        row = repository.created_before(session, key, document)
        created = row is None
        if row is None:
            own = limits.enter(session)
            limits.require_sweep(own, spec.size)
            for _, one in children:
                limits.require_priority(own, one.priority)
                limits.seconds_allowed(own, one.limits.max_seconds)
            require_references(service, session, spec, children)
            references.hold(session, spec)
            found = [parameters for parameters, _ in children]
            row = repository.create(session, spec, found, key=key, body=document)
            audit.about(session, row.id)
        else:
            audit.nothing_done(session)
    if created:
        driver(service).advance(row, FIRST_STEPS)
        service.relay.poke()
    return row, created
