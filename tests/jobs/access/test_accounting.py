"""Device seconds: every millisecond of every attempt is counted once, whatever becomes of the job."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update

from jobs.access import accounting
from jobs.access.accounting import DAY_MS, days_of
from jobs.access.scope import DEFAULT, SERVICE
from jobs.access.tables import Usage
from jobs.database import Database
from jobs.repository import attempts, lifecycle, queue, recovery
from jobs.repository.queue import Offer
from jobs.states import Cause, Status
from jobs.tables import Attempt, Job
from tests.support.specs import train_spec

LEASE_MS = 60_000
times = st.integers(0, 4 * DAY_MS)


@given(times, times)
def test_the_days_of_an_attempt_add_up_to_its_time(one: int, other: int) -> None:
    start, end = sorted((one, other))
    found = list(days_of(start, end))
    assert sum(ms for _, ms in found) == end - start
    assert [day for day, _ in found] == sorted({day for day, _ in found})
    assert all(0 <= ms <= DAY_MS for _, ms in found)
    assert list(days_of(end, start)) == ([(start // DAY_MS, 0)] if end >= start else found), "a clock that was set back"


ENDS = ("finish", "fail", "fault", "pause", "hand_back", "suspend", "lost", "cancel")


@pytest.mark.parametrize("kind", ["sqlite_url", "fresh_postgres_url"])
def test_the_accounts_are_the_sum_of_the_attempts(kind: str, request: pytest.FixtureRequest) -> None:
    """Retries, pauses, hand-overs and lost workers, each over a random time, with jobs deleted meanwhile."""
    database = Database(request.getfixturevalue(kind))

    @settings(max_examples=25)
    @given(st.lists(st.tuples(st.sampled_from(ENDS), st.integers(0, 3 * DAY_MS), st.booleans()), max_size=12))
    def check(steps: list[tuple[str, int, bool]]) -> None:
        _clear(database)
        expected = 0
        for how, ms, twice in steps:
            expected += _attempt(database, how, ms, twice)
        with database.read(DEFAULT) as session:
            today = accounting.now(session) // DAY_MS
            used = accounting.device_use(session, DEFAULT, today - 10, today)
            assert round(sum(use.seconds for use in used) * 1000) == expected

    check()
    database.dispose()


def test_two_attempts_that_end_at_once_do_not_wait_for_each_other(fresh_postgres_url: str) -> None:
    """Both add to the same row of the accounts. It is locked for the commit alone."""
    database = Database(fresh_postgres_url)
    with database.write(DEFAULT) as session:
        for _ in range(2):
            lifecycle.submit(session, train_spec())
    with database.write(SERVICE) as session:
        claims = [queue.claim(session, Offer("worker_a"), LEASE_MS) for _ in range(2)]
    first, second = (claim for claim in claims if claim is not None)
    with database.write(DEFAULT) as slow:
        attempts.finish(slow, attempts.lock(slow, first, LEASE_MS), Status.SUCCEEDED, "Done.")
        slow.flush()
        with database.write(DEFAULT) as quick:
            quick.execute(text("SET LOCAL lock_timeout = '2s'"))
            attempts.finish(quick, attempts.lock(quick, second, LEASE_MS), Status.SUCCEEDED, "Done.")
    with database.read(DEFAULT) as session:
        (row,) = session.execute(select(Usage)).scalars()
        took = session.execute(select(func.sum(Attempt.ended_at - Attempt.started_at))).scalar_one()
        assert (row.attempts, row.device_ms) == (2, took)
    database.dispose()


def _clear(database: Database) -> None:
    with database.write(DEFAULT) as session:
        for table in (Job, Usage):
            session.execute(table.__table__.delete())


def _attempt(database: Database, how: str, ms: int, twice: bool) -> int:
    """One attempt of so many ms, ended in a way; and once more, where a commit's answer was lost. Returns its ms."""
    with database.write(DEFAULT) as session:
        if session.execute(select(Job.id).where(Job.status == Status.QUEUED)).first() is None:
            lifecycle.submit(session, train_spec(limits={"max_attempts": 100}))
    with database.write(SERVICE) as session:
        claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
    assert claim is not None
    with database.write(DEFAULT) as session:
        mine = (Attempt.job_id == claim.job_id) & (Attempt.attempt == claim.attempt)
        session.execute(update(Attempt).where(mine).values(started_at=Attempt.started_at - ms))
    for _ in range(2 if twice else 1):
        _end(database, claim, how)
    with database.read(DEFAULT) as session:
        row = session.get_one(Attempt, (claim.job_id, claim.attempt))
        assert row.ended_at is not None
        took = row.ended_at - row.started_at
        final = Status(session.get_one(Job, claim.job_id).status).final
    if final and twice:
        with database.write(DEFAULT) as session:
            lifecycle.delete_job(session, claim.job_id)
    return took


def _end(database: Database, claim: attempts.Claim, how: str) -> None:
    if how == "lost":
        with database.write(SERVICE) as session:
            owned = (Job.id == claim.job_id) & Job.worker_id.is_not(None)
            session.execute(update(Job).where(owned).values(lease_expires_at=1))
            recovery.reclaim_expired(session)
        return
    with database.write(DEFAULT) as session:
        try:
            job = attempts.lock(session, claim, LEASE_MS)
        except attempts.FenceLost:
            return
        if how == "fault":
            attempts.fault(session, job, "It was lost.")
        elif how == "pause":
            lifecycle.pause(session, job.id)
            attempts.hand_back(session, job, Status.PAUSED, "Paused.")
        elif how == "hand_back":
            attempts.hand_back(session, job, Status.QUEUED, "Handed over.")
        elif how == "suspend":
            attempts.suspend(session, job, Cause.DISK_FULL, "The disk is full.")
        elif how == "cancel":
            lifecycle.cancel(session, job.id)
            attempts.finish(session, job, Status.CANCELLED, "Cancelled.")
        elif how == "fail":
            attempts.finish(session, job, Status.FAILED, "No.", {"code": "diverged", "message": "No."})
        else:
            attempts.finish(session, job, Status.SUCCEEDED, "Done.")
