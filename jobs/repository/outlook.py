"""Reads the queue, the workers and past run times for `jobs/forecast.py`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from jobs.access.scope import Transaction
from jobs.forecast import Forecast, Host, Needs, Pace, Running, Waiting, pace_of
from jobs.repository import attempts
from jobs.repository.core import now
from jobs.repository.ranks import RANKS
from jobs.repository.recovery import live_workers
from jobs.scheduling import kind_of, last_chance, ranks_of
from jobs.states import OWNED, Status
from jobs.tables import Attempt, Job

SAMPLES = 100
"""Recently finished jobs from which run times are estimated, for each kind of device."""
LOOKED_AT = 500


def waiting_of(job: Any) -> Waiting:
    """A queued job for the forecast, from its row or from the columns that are used here."""
    key = None if job.any_environment else job.environment_key
    alone = job.faults > 0 and last_chance(job.faults, job.max_attempts)
    ranks = ranks_of(job.spec) if isinstance(job, Job) else job.ranks
    needs = Needs(job.needs_device, job.needs_memory_mb, key, alone, ranks)
    work = job.work if job.progress is None else _work_left(job)
    return Waiting(job.id, job.priority, job.turn, needs, work)


def _work_left(job: Any) -> int:
    done = _number(job.progress, "fraction") or 0.0
    work: int = job.work
    return max(1, round(work * (1 - min(1.0, done))))


def _number(progress: Mapping[str, Any] | None, name: str) -> float | None:
    value = (progress or {}).get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def forecast(session: Transaction, live_ms: int) -> Forecast:
    """A forecast from the whole queue as it is now; it answers positions and expected starts."""
    columns = (
        Job.id, Job.priority, Job.turn, Job.needs_device, Job.needs_memory_mb, Job.environment_key, Job.any_environment,
        Job.faults, Job.max_attempts, Job.work, Job.progress, Job.project_id, Job.attempt, Job.label_turn,
        RANKS.label("ranks"),
    )  # fmt: skip
    waiting = session.execute(select(*columns).where(Job.status == Status.QUEUED)).all()
    found = paces(session)
    turns = _turns(waiting)
    return Forecast(
        [waiting_of(row)._replace(turn=turns.get(row.id, row.turn)) for row in waiting],
        live_hosts(session, live_ms),
        _running(session, found),
        found,
        now(session),
        turns,
    )


def _turns(rows: Sequence[Any]) -> dict[str, int]:
    """The turns of jobs of one project and demand as claims will give them: in the order of their labels."""
    lines: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in rows:
        if row.label_turn is not None and row.attempt == 0:
            lines[row.project_id, row.priority, row.needs_device, row.needs_memory_mb].append(row)
    found: dict[str, int] = {}
    for line in lines.values():
        by_label = sorted(line, key=lambda row: (row.label_turn, row.id))
        found |= {row.id: turn for row, turn in zip(by_label, sorted(row.turn for row in line), strict=True)}
    return found


def live_hosts(session: Transaction, live_ms: int) -> list[Host]:
    """The live workers, ordered by id."""
    return [
        Host(worker.id, tuple(worker.devices), worker.memory_mb, frozenset(worker.offers), worker.draining is not None)
        for worker in live_workers(session, live_ms)
    ]


def _running(session: Transaction, paces: Mapping[str, Pace]) -> list[Running]:
    rows = session.execute(
        select(
            Job.id, Job.worker_id, Job.device, Job.needs_memory_mb, Job.faults, Job.max_attempts, Job.work,
            Job.progress,
        ).where(Job.status.in_(OWNED))
    ).all()  # fmt: skip
    ran = attempts.run_seconds(session, [row.id for row in rows])
    found = []
    for row in rows:
        device = row.device or "cpu"
        left = _number(row.progress, "eta_seconds")
        pace = paces.get(kind_of(device))
        if left is None and pace is not None:
            left = max(0.0, pace.seconds(row.work) - ran.get(row.id, 0.0))
        alone = last_chance(row.faults, row.max_attempts)
        found.append(Running(row.worker_id, device, left, row.needs_memory_mb, alone))
    return found


def paces(session: Transaction) -> dict[str, Pace]:
    """How long jobs take, by kind of device, from those that lately succeeded at their first attempt.

    The validation of an upload does not count: it says nothing about trainings.
    """
    lately = select(Job.id).where(Job.finished_at.is_not(None)).order_by(Job.finished_at.desc()).limit(LOOKED_AT)
    rows = session.execute(
        select(Job.work, Attempt.device, Attempt.ended_at - Attempt.started_at)
        .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.attempt == 1))
        .where(Job.id.in_(lately), Job.status == Status.SUCCEEDED, Job.attempt == 1, Attempt.ended_at.is_not(None))
        .where(Job.kind != "ingest")
        .order_by(Job.finished_at.desc())
    )
    samples: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for work, device, ms in rows:
        assert ms is not None  # for types: it has ended
        samples[kind_of(device)].append((work, ms / 1000))
    return {kind: pace for kind, found in samples.items() if (pace := pace_of(found[:SAMPLES])) is not None}
