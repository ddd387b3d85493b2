"""What a project may use and uses, for the answer of `/v1/me` and the page `/usage`."""

from __future__ import annotations

from api.access.acting import Acting
from api.access.schemas import Me, Use
from jobs.access import accounting, limits
from jobs.access.scope import OwnTransaction
from jobs.states import OWNED, Status


def me(service: Acting) -> Me:
    """Who asks, and what the project may and does use."""
    caller = service.caller
    with service.database.read() as session:
        bounds = limits.own_limits(session)
        usage = use(service, session)
    return Me(
        key_id=caller.key_id,
        name=caller.key_name,
        project=caller.project_name,
        project_id=caller.project.id,
        role=caller.role,
        limits=bounds,
        usage=usage,
    )


def use(service: Acting, session: OwnTransaction) -> Use:
    """What the caller's project uses now."""
    project = service.caller.project
    jobs = accounting.jobs_by_status(session, project.id)
    return Use(
        queued_jobs=jobs.get(Status.QUEUED, 0),
        running_jobs=sum(jobs.get(status, 0) for status in OWNED),
        stored_bytes=accounting.stored_bytes(session),
        device_seconds_today=accounting.seconds_today(session, project),
        streams=service.whole.project_streams.used_by(project.id),
    )
