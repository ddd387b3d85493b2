"""What the database must hold after each step of `test_state_machine.py`, kept in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.repository import core
from jobs.repository.attempts import Claim
from jobs.states import EDGES, FINAL, OWNED, Cause, FailureCode, Status
from jobs.tables import Artifact, Attempt, Checkpoint, Event, Job, LogChunk, Metric, Outbox

KEEP = 2


@dataclass
class Expected:
    """One job as it must be."""

    device: str = "auto"
    memory_mb: int = 0
    exact: bool = True
    max_attempts: int = 3
    environment_key: str | None = None
    """What it was frozen to when it began."""
    status: Status = Status.QUEUED
    faults: int = 0
    owner: Claim | None = None
    expired: bool = False
    """Whether the owner's lease has run out."""
    causes: list[Cause | None] = field(default_factory=list)
    """Why each attempt ended; None for the one that runs."""
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    log: str = ""
    checkpoints: dict[int, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    unsent: int = 1
    """Rows of the outbox."""
    fence: int = 0
    end: tuple[Any, ...] | None = None
    """The row as it was when the job ended: it must stay so."""

    def digests(self) -> set[str]:
        return {*self.checkpoints.values(), *self.artifacts.values()}

    def checkpoint(self, step: int, sha256: str) -> None:
        self.checkpoints[step] = sha256
        self.checkpoints = dict(sorted(self.checkpoints.items())[-KEEP:])

    def queue(self) -> None:
        self.status = Status.QUEUED
        self.unsent += 1

    def end_attempt(self, cause: Cause) -> None:
        self.causes[-1], self.owner, self.expired = cause, None, False

    def fault(self) -> None:
        """The owner is lost."""
        self.end_attempt(Cause.WORKER_LOST)
        self.faults += 1
        if self.status is Status.CANCELLING:
            self.status = Status.CANCELLED
        elif self.status is Status.PAUSING:
            self.status = Status.PAUSED
        elif self.faults == self.max_attempts:
            self.status = Status.FAILED
        else:
            self.queue()


class Model:
    def __init__(self) -> None:
        self.jobs: dict[str, Expected] = {}
        self.keys: dict[str, tuple[str, object]] = {}
        """Idempotency key: job, body."""

    def owns(self, claim: Claim) -> bool:
        job = self.jobs.get(claim.job_id)
        return job is not None and job.owner == claim

    def of(self, *statuses: Status) -> set[str]:
        return {job_id for job_id, job in self.jobs.items() if job.status in statuses}

    def check(self, session: Session) -> None:
        """Compares everything that is stored with everything that should be."""
        now = core.now(session)
        rows = {row.id: row for row in session.execute(select(Job)).scalars()}
        assert set(rows) == set(self.jobs)
        attempts, events, points = _by_job(session, Attempt), _by_job(session, Event), _by_job(session, Metric)
        chunks, checkpoints = _by_job(session, LogChunk), _by_job(session, Checkpoint)
        artifacts, outbox = _by_job(session, Artifact), Counter(r.job_id for r in _all(session, Outbox))
        assert set(outbox) <= set(rows)
        for job_id, job in self.jobs.items():
            row = rows[job_id]
            _check_row(row, job, now)
            _check_attempts(attempts.get(job_id, []), row, job)
            _check_history(events.get(job_id, []), points.get(job_id, []), row)
            assert {(p.name, p.step): p.value for p in points.get(job_id, [])} == job.points
            assert "".join(c.text for c in chunks.get(job_id, [])) == job.log
            assert {c.step: c.sha256 for c in checkpoints.get(job_id, [])} == job.checkpoints
            assert {a.name: a.sha256 for a in artifacts.get(job_id, [])} == job.artifacts
            assert outbox[job_id] == job.unsent


def _all(session: Session, table: Any) -> Iterable[Any]:
    return session.execute(select(table).order_by(*table.__table__.primary_key)).scalars()


def _by_job(session: Session, table: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in _all(session, table):
        found.setdefault(row.job_id, []).append(row)
    return found


def _check_row(row: Job, job: Expected, now: int) -> None:
    assert (row.status, row.attempt, row.faults) == (job.status, len(job.causes), job.faults)
    assert row.faults <= row.max_attempts
    assert row.fence >= job.fence, "a fence never goes back"
    if row.fence > job.fence:
        job.fence = row.fence
    owned = job.status in OWNED
    assert owned == (job.owner is not None)
    assert (row.worker_id is not None, row.device is not None, row.lease_expires_at is not None) == (owned,) * 3
    if job.owner is not None:
        assert row.fence == job.owner.fence
        assert (row.lease_expires_at or 0) < now if job.expired else (row.lease_expires_at or 0) >= now
    assert (row.finished_at is not None) == (job.status in FINAL)
    assert (row.error is not None) == (job.status is Status.FAILED)
    lost = row.error is not None and row.error["code"] == FailureCode.WORKER_LOST
    assert lost == (job.status is Status.FAILED and job.faults == job.max_attempts)
    if job.status in FINAL:
        end = (row.last_seq, row.log_bytes, row.finished_at, row.fence, row.result, row.error)
        job.end = job.end or end
        assert job.end == end, "what has ended stays as it is"


def _check_attempts(rows: list[Attempt], row: Job, job: Expected) -> None:
    assert [a.attempt for a in rows] == list(range(1, row.attempt + 1)), "one row for each attempt"
    assert [a.cause for a in rows] == job.causes
    fences = [a.fence for a in rows]
    assert fences == sorted(set(fences)), "each attempt has a higher fence than the one before"
    for attempt in rows:
        runs = job.status in OWNED and attempt.attempt == row.attempt
        assert (attempt.ended_at is None) == runs
    if rows and job.status in OWNED:
        assert (rows[-1].fence, rows[-1].worker_id, rows[-1].device) == (row.fence, row.worker_id, row.device)


def _check_history(events: list[Event], points: list[Metric], row: Job) -> None:
    seqs = [e.seq for e in events] + [p.seq for p in points]
    assert len(set(seqs)) == len(seqs), "events and metrics share one row of numbers"
    assert all(0 < seq <= row.last_seq for seq in seqs)
    changes = [e.data for e in events if e.type == "status" and e.data is not None]
    assert changes[0]["from"] is None
    assert changes[-1]["to"] == row.status
    for before, after in pairwise(changes):
        assert before["to"] == after["from"], "no change of state goes unsaid"
        assert Status(after["to"]) in EDGES[Status(after["from"])]
