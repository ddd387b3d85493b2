"""The limits of a project: what they are called, and how they are held.

A limit is checked in the transaction that would exceed it, under a lock of the project, so that a hundred requests at
once admit exactly as many as it allows. SQLite's writers take turns anyway.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import func, select

from addercore.config.fields import WHOLE, Section
from jobs.access import accounting
from jobs.access.scope import OwnTransaction, ServiceTransaction
from jobs.access.tables import ProjectRow
from jobs.errors import NotFound, QuotaExceeded
from jobs.states import OWNED, Status
from jobs.tables import Job

Bound = Annotated[int, Field(ge=0, le=2**53), WHOLE] | None


class Limits(Section):
    """What a project may use; null: no limit."""

    max_queued_jobs: Bound = None
    """Jobs that may wait at a time."""
    max_running_jobs: Bound = None
    """Jobs that may run at a time; the others wait."""
    max_priority: Annotated[int, Field(ge=-1000, le=1000), WHOLE] | None = None
    """Highest `priority` of a job."""
    max_job_seconds: Annotated[int, Field(ge=1, le=2**53), WHOLE] | None = None
    """Longest `limits.max_seconds` of a job; one that names none gets this."""
    max_storage_bytes: Bound = None
    """Bytes of files, models and datasets; when so much is stored, nothing more is taken in."""
    max_sweep_jobs: Bound = None
    """Jobs of one sweep."""
    max_streams: Bound = None
    """Streams that may be open at a time, in each API process."""
    requests_per_minute: Annotated[int, Field(ge=1, le=2**53), WHOLE] | None = None
    """Requests of each key, in each API process."""
    device_seconds_per_day: Bound = None
    """Seconds on devices in a day (UTC); when they are used up, nothing is submitted and nothing begins until the
    next."""


NAMES: Final = tuple(Limits.model_fields)


def limits_of(row: ProjectRow) -> Limits:
    """The limits of a project's row."""
    return Limits(**{name: getattr(row, name) for name in NAMES})


def own_limits(session: OwnTransaction) -> Limits:
    """The limits of the transaction's project."""
    row = session.get(ProjectRow, session.scope.id)
    return Limits() if row is None else limits_of(row)


def enter(session: OwnTransaction) -> Limits:
    """The limits of the transaction's project, which is not deleted before the transaction ends.

    Call it before anything is written that a project must not have when it is deleted.

    Raises:
        NotFound: it was deleted meanwhile.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock_shared(_existence(session.scope.id))))
    row = session.get(ProjectRow, session.scope.id, populate_existing=True)
    if row is None:
        raise NotFound("project", session.scope.id)
    return limits_of(row)


def close(session: ServiceTransaction, row: ProjectRow) -> None:
    """Waits for what begins in a project, and lets nothing more begin until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_existence(row.id))))


def _existence(project_id: str) -> Any:
    return func.hashtextextended(f"existence of {project_id}", 4)


def hold(session: OwnTransaction) -> None:
    """Lets one transaction at a time check and use what the project has, until it ends."""
    if session.get_bind().dialect.name == "postgresql":
        lock = func.hashtextextended(f"limits of {session.scope.id}", 2)
        session.execute(select(func.pg_advisory_xact_lock(lock)))


def require_room(session: OwnTransaction, limits: Limits, *, jobs: int = 1) -> None:
    """Checks that the project may queue so many more jobs, and holds that until the transaction ends.

    Raises:
        QuotaExceeded: too many wait, or the day's device seconds are used up.
    """
    if limits.max_queued_jobs is not None:
        hold(session)
        waiting = select(func.count()).select_from(Job).where(Job.status == Status.QUEUED)
        count = int(session.execute(waiting).scalar_one())
        if count + jobs > limits.max_queued_jobs:
            raise QuotaExceeded("max_queued_jobs", limits.max_queued_jobs, count, f"{count} jobs are queued")
    if limits.device_seconds_per_day is not None:
        used = int(accounting.seconds_today(session, session.scope))
        if used >= limits.device_seconds_per_day:
            raise QuotaExceeded(
                "device_seconds_per_day", limits.device_seconds_per_day, used, f"{used} seconds were used today"
            )
    require_storage(session, limits)


def require_storage(session: OwnTransaction, limits: Limits, more: int = 0) -> None:
    """Checks that the project may store so many more bytes, and holds that until the transaction ends.

    Raises:
        QuotaExceeded: it may not.
    """
    if limits.max_storage_bytes is None:
        return
    hold(session)
    stored = accounting.stored_bytes(session)
    if stored + more > limits.max_storage_bytes or stored >= limits.max_storage_bytes > 0:
        raise QuotaExceeded("max_storage_bytes", limits.max_storage_bytes, stored, f"{stored} bytes are stored")


def over_storage(session: OwnTransaction) -> str | None:
    """A sentence where the project stores more than it may; else None. Call it after the bytes were added.

    Holds the limit until the transaction ends, so that of several that add at once the last one sees all of them, and
    an upload that is checked meanwhile sees these.
    """
    most = own_limits(session).max_storage_bytes
    if most is None:
        return None
    hold(session)
    stored = accounting.stored_bytes(session)
    return None if stored <= most else f"{stored} bytes are stored, and the project's max_storage_bytes is {most}."


def require_priority(limits: Limits, priority: int) -> None:
    """Raises QuotaExceeded for a priority that is higher than the project's highest."""
    if limits.max_priority is not None and priority > limits.max_priority:
        raise QuotaExceeded("max_priority", limits.max_priority, priority, f"priority {priority} was asked for")


def seconds_allowed(limits: Limits, asked: float | None) -> float | None:
    """The time limit of a job: what was asked for, or the project's own.

    Raises:
        QuotaExceeded: more was asked for than the project may have.
    """
    most = limits.max_job_seconds
    if most is None:
        return asked
    if asked is not None and asked > most:
        raise QuotaExceeded("max_job_seconds", most, int(asked), f"limits.max_seconds {asked:g} was asked for")
    return float(most) if asked is None else asked


def require_sweep(limits: Limits, jobs: int) -> None:
    """Raises QuotaExceeded for a sweep of too many jobs."""
    if limits.max_sweep_jobs is not None and jobs > limits.max_sweep_jobs:
        raise QuotaExceeded("max_sweep_jobs", limits.max_sweep_jobs, jobs, f"the sweep has {jobs} jobs")


# At the claim


def bounded(session: ServiceTransaction) -> dict[str, ProjectRow]:
    """The projects with a limit that a claim has to look at, by id."""
    limited = ProjectRow.max_running_jobs.is_not(None) | ProjectRow.device_seconds_per_day.is_not(None)
    return {row.id: row for row in session.execute(select(ProjectRow).where(limited)).scalars()}


def rests(session: ServiceTransaction, row: ProjectRow) -> bool:
    """Whether nothing of a project may begin: as many of its jobs run as may, or the day's time is used up."""
    if row.max_running_jobs is not None and running_jobs(session, row.id) >= row.max_running_jobs:
        return True
    most = row.device_seconds_per_day
    return most is not None and accounting.seconds_today(session, row) >= most


def running_jobs(session: ServiceTransaction | OwnTransaction, project_id: str) -> int:
    """Number of a project's jobs that have a worker."""
    mine = select(func.count()).select_from(Job).where(Job.project_id == project_id, Job.status.in_(OWNED))
    return int(session.execute(mine).scalar_one())


def take_place(session: ServiceTransaction, row: ProjectRow) -> bool:
    """Whether one more job of a project may begin. That holds until the claim is committed: claims of one project take
    turns here."""
    if row.max_running_jobs is None:
        return True
    if session.get_bind().dialect.name == "postgresql":
        lock = func.hashtextextended(f"running of {row.id}", 3)
        session.execute(select(func.pg_advisory_xact_lock(lock)))
    return running_jobs(session, row.id) < row.max_running_jobs
