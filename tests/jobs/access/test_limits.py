"""The limits of a project, held although a hundred ask at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from jobs.access import limits, projects
from jobs.access.limits import Limits
from jobs.access.scope import SERVICE, Project
from jobs.access.tables import ProjectRow
from jobs.database import Database
from jobs.errors import Conflict, NotFound, QuotaExceeded
from jobs.repository import attempts, history, lifecycle, queue
from jobs.repository.queue import Offer
from jobs.states import Status
from jobs.tables import Job
from tests.support.specs import train_spec

AT_ONCE = 100
LEASE_MS = 60_000
Make = Callable[..., Project]


@pytest.fixture
def project(database: Database) -> Make:
    def make(name: str = "vision", **bounds: Any) -> Project:
        with database.write(SERVICE) as session:
            return projects.scope_of(projects.create(session, name, Limits(**bounds)))

    return make


def submit(database: Database, project: Project, **changes: Any) -> str:
    with database.write(project) as session:
        return lifecycle.submit(session, train_spec(**changes)).job.id


def outcome(work: Callable[[], object]) -> str:
    try:
        return "none" if work() is None else "done"
    except QuotaExceeded as error:
        return error.limit


def all_at_once(count: int, work: Callable[[], object]) -> Counter[str]:
    barrier = threading.Barrier(count)

    def one(_: int) -> str:
        barrier.wait()
        return outcome(work)

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(one, range(count)))


def test_a_hundred_submits_at_once_admit_exactly_the_limit(database: Database, project: Make) -> None:
    mine, other = project(max_queued_jobs=7), project("other")
    found = all_at_once(AT_ONCE, lambda: submit(database, mine))
    assert found == {"done": 7, "max_queued_jobs": AT_ONCE - 7}
    assert submit(database, other), "others are not held up"
    with database.write(SERVICE) as session:
        claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
    assert claim is not None
    assert submit(database, mine), "a place is free again once a job has begun"
    with pytest.raises(QuotaExceeded, match="max_queued_jobs is 7"):
        submit(database, mine)


def test_as_many_jobs_run_as_may_however_many_workers_ask(database: Database, project: Make) -> None:
    mine, other = project(max_running_jobs=2), project("other")
    for _ in range(20):
        submit(database, mine)

    def claim() -> object:
        with database.write(SERVICE) as session:
            return queue.claim(session, Offer("worker_a"), LEASE_MS)

    assert all_at_once(20, claim) == {"done": 2, "none": 18}
    submit(database, other)
    with database.write(SERVICE) as session:
        found = queue.claim(session, Offer("worker_a"), LEASE_MS)
        assert found is not None
        assert found.project == other, "the jobs of others go past those that have to wait"
    with database.write(mine) as session:
        running = session.execute(select(Job).where(Job.status == "running")).scalars().first()
        assert running is not None
        attempts.finish(session, running, Status.SUCCEEDED, "Done.")
    assert outcome(claim) == "done", "an ended job gives its place back"
    assert outcome(claim) == "none"


def test_priority_and_time_have_a_bound(database: Database, project: Make) -> None:
    mine = project(max_priority=0, max_job_seconds=60)
    with pytest.raises(QuotaExceeded, match="max_priority is 0"):
        submit(database, mine, priority=1)
    with pytest.raises(QuotaExceeded, match="max_job_seconds is 60"):
        submit(database, mine, limits={"max_seconds": 61})
    for given, kept in ((None, 60), (30, 30)):
        job = submit(database, mine, limits={"max_seconds": given})
        with database.read(mine) as session:
            assert lifecycle.get(session, job).spec["limits"]["max_seconds"] == kept


def test_the_days_device_seconds_end_what_begins(database: Database, project: Make) -> None:
    mine = project(device_seconds_per_day=10)
    first, second = submit(database, mine), submit(database, mine)
    with database.write(SERVICE) as session:
        claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
        assert claim is not None
        row = session.get_one(attempts.Attempt, (claim.job_id, 1))
        row.started_at -= 11_000
    assert {first, second} >= {claim.job_id}
    with pytest.raises(QuotaExceeded, match="device_seconds_per_day is 10"):
        submit(database, mine)
    with database.write(SERVICE) as session:
        assert queue.claim(session, Offer("worker_b"), LEASE_MS) is None, "what waits stays queued"


def test_storage_has_a_bound(database: Database, project: Make) -> None:
    mine = project(max_storage_bytes=100)
    job = submit(database, mine)
    with database.write(mine) as session:
        limits.require_storage(session, limits.own_limits(session), 100)
        stored = attempts.Stored("0" * 64, 60)
        attempts.add_artifacts(session, lifecycle.get(session, job), [attempts.NewArtifact("a", "file", "x/y", stored)])
        with pytest.raises(QuotaExceeded, match="60 bytes are stored"):
            limits.require_storage(session, limits.own_limits(session), 41)
    with database.write(SERVICE) as session:
        projects.change(session, "vision", None, {"max_storage_bytes": 60})
    with pytest.raises(QuotaExceeded, match="max_storage_bytes"):
        submit(database, mine)


def test_a_job_pauses_when_its_checkpoints_pass_the_storage(database: Database, project: Make) -> None:
    mine = project(max_storage_bytes=100)
    job = submit(database, mine)
    with database.write(SERVICE) as session:
        claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
    assert claim is not None
    for step, (size, status) in enumerate(((60, Status.RUNNING), (100, Status.RUNNING), (101, Status.PAUSING)), 1):
        with database.write(mine) as session:
            row = attempts.lock(session, claim, LEASE_MS)
            attempts.add_checkpoint(session, row, step, attempts.Stored(f"{step}" * 64, size), keep=1)
            attempts.hold_to_storage(session, row)
        with database.read(mine) as session:
            assert lifecycle.get(session, job).status == status, size
    with database.read(mine) as session:
        said = history.latest_events(session, job, 1)[0].message
    assert "101 bytes are stored" in said
    assert "max_storage_bytes is 100" in said
    with database.write(mine) as session:
        attempts.hand_back(session, attempts.lock(session, claim, LEASE_MS), Status.PAUSED, "Paused.")
    with pytest.raises(QuotaExceeded, match="max_storage_bytes"), database.write(mine) as session:
        lifecycle.resume(session, job)


def test_of_checkpoints_at_once_each_counts_those_before_it(database: Database, project: Make) -> None:
    """Three of 30 bytes fit into 100; each of the seven others pauses its job."""
    mine = project(max_storage_bytes=100)
    for _ in range(10):
        submit(database, mine)
    claims = []
    for _ in range(10):
        with database.write(SERVICE) as session:
            claims.append(queue.claim(session, Offer("worker_a"), LEASE_MS))
    waiting = iter(claims)

    def save() -> object:
        claim = next(waiting)
        assert claim is not None
        with database.write(mine) as session:
            row = attempts.lock(session, claim, LEASE_MS)
            attempts.add_checkpoint(session, row, 1, attempts.Stored(claim.job_id[-1] * 64, 30), keep=1)
            attempts.hold_to_storage(session, row)
        return None

    all_at_once(len(claims), save)
    with database.read(mine) as session:
        found = Counter(session.execute(select(Job.status)).scalars())
    assert found == {Status.RUNNING: 3, Status.PAUSING: 7}


def test_a_project_that_is_deleted_takes_no_more_jobs(database: Database, project: Make) -> None:
    """Of a deletion and submits at once, either all submits fail or the deletion does: no job is left without one."""
    for round_ in range(10):
        mine = project(f"brief-{round_}")

        def remove(name: str = f"brief-{round_}") -> str:
            with database.write(SERVICE) as session:
                projects.remove(session, name)
            return "deleted"

        def begin(mine: Project = mine) -> str:
            return submit(database, mine)

        barrier = threading.Barrier(4)

        def run(work: Callable[[], str], barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                return work()
            except (Conflict, NotFound) as error:
                return type(error).__name__

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(run, (begin, remove, begin, begin)))
        with database.read(SERVICE) as session:
            left = session.execute(select(Job.id).where(Job.project_id == mine.id)).scalars().all()
            there = session.get(ProjectRow, mine.id) is not None
        assert there == bool(left), found
        assert ("deleted" in found) == (not there)
