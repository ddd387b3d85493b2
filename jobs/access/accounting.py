"""What a project uses: device seconds by day, and stored bytes.

When an attempt ends, the transaction that writes its end adds its time to the accounts, split where it ran over
midnight (UTC). The row of an attempt ends once, so nothing is counted twice; the accounts stay when its job is deleted.
An attempt that runs counts up to now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import event, func, select

from jobs.access.scope import OwnTransaction, Project, ServiceTransaction, Transaction
from jobs.access.tables import ProjectRow, Usage
from jobs.repository.core import now, upsert
from jobs.scheduling import devices_of, kind_of
from jobs.tables import Artifact, Attempt, Checkpoint, Dataset, Job, Model

DAY_MS: Final = 86_400_000


def days_of(started_at: int, ended_at: int) -> Iterator[tuple[int, int]]:
    """How an attempt's time lies on days: `(day, milliseconds)`. The clock may have been set back meanwhile: none then.

    Args:
        started_at: in ms since 1970.
        ended_at: the same.
    """
    at = started_at
    while at < ended_at:
        day = at // DAY_MS
        end = min(ended_at, (day + 1) * DAY_MS)
        yield day, end - at
        at = end
    if ended_at <= started_at:
        yield ended_at // DAY_MS, 0


def enter(session: Transaction, project_id: str, device: str, started_at: int, ended_at: int) -> None:
    """Adds an attempt that has just ended to the accounts. Call it once, under the lock of its job.

    All attempts of a project that end on a day change one row, and whoever changes it holds it until the commit. So
    the transaction writes it as its last statement: another attempt that ends waits for a commit and for nothing else.
    """
    entries = session.info.setdefault(_ENTRIES, defaultdict(_Sum))
    several = len(devices_of(device))
    days = list(days_of(started_at, ended_at))
    for day, each in days:
        entries[project_id, day, kind_of(device)].ms += each * several
    entries[project_id, days[-1][0], kind_of(device)].attempts += 1


@dataclass
class _Sum:
    """What a transaction adds to one row."""

    ms: int = 0
    attempts: int = 0


_ENTRIES: Final = "accounts"


@event.listens_for(Transaction, "before_commit")
def _write(session: Transaction) -> None:
    """In one order in all transactions, so that two that end several attempts do not wait for each other's rows."""
    if _ENTRIES not in session.info:
        return
    session.flush()
    for (project_id, day, device), added in sorted(session.info.pop(_ENTRIES).items()):
        values: dict[str, Any] = {
            "project_id": project_id, "day": day, "device": device, "device_ms": added.ms, "attempts": added.attempts,
        }  # fmt: skip
        insertion = upsert(session, Usage).values(**values)
        summed = {"device_ms": Usage.device_ms + added.ms, "attempts": Usage.attempts + added.attempts}
        session.execute(insertion.on_conflict_do_update(index_elements=["project_id", "day", "device"], set_=summed))


@dataclass(frozen=True)
class DayUse:
    """What a project used of one kind of device on one day."""

    day: int
    """Days since 1970 (UTC)."""
    device: str
    seconds: float


def device_use(session: Transaction, project: Project | ProjectRow, first: int, last: int) -> list[DayUse]:
    """Device seconds by day and kind of device, the attempts that run now included.

    Args:
        session: a transaction that sees the project.
        project: whose.
        first: the first day, in days since 1970.
        last: the last one.
    """
    found: dict[tuple[int, str], int] = defaultdict(int)
    rows = select(Usage).where(Usage.project_id == project.id, Usage.day >= first, Usage.day <= last)
    for row in session.execute(rows).scalars():
        found[row.day, row.device] += row.device_ms
    stamp = now(session)
    running = (
        select(Attempt.device, Attempt.started_at)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.project_id == project.id, Job.lease_expires_at.is_not(None), Attempt.attempt == Job.attempt)
        .where(Attempt.ended_at.is_(None))
    )
    for device, started_at in session.execute(running):
        for day, ms in days_of(started_at, stamp):
            if first <= day <= last:
                found[day, kind_of(device)] += ms * len(devices_of(device))
    return [DayUse(day, device, ms / 1000) for (day, device), ms in sorted(found.items())]


def seconds_today(session: Transaction, project: Project | ProjectRow) -> float:
    """Device seconds of a project since midnight (UTC)."""
    day = now(session) // DAY_MS
    return sum(use.seconds for use in device_use(session, project, day, day))


def stored_bytes(session: OwnTransaction) -> int:
    """Bytes of the project's artifacts, checkpoints, models and datasets. A file that two rows name counts twice."""
    columns = (Artifact.bytes, Checkpoint.bytes, Model.bytes, Dataset.bytes)
    sums = [func.coalesce(select(func.sum(column)).scalar_subquery(), 0) for column in columns]
    return int(sum(session.execute(select(*sums)).one()))


def jobs_by_status(session: OwnTransaction | ServiceTransaction, project_id: str) -> Mapping[str, int]:
    """Number of a project's jobs, by status."""
    mine = select(Job.status, func.count()).where(Job.project_id == project_id).group_by(Job.status)
    return {row[0]: row[1] for row in session.execute(mine)}
