"""Commits of unknown outcome, standbys, clocks that jump, processes that stood still: nothing is lost or doubled."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from jobs.access.scope import DEFAULT, SERVICE
from jobs.repository import history, lifecycle, queue, recovery
from jobs.states import Cause, Status
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, violations
from tests.support.servers import Valkey, wait_until
from tests.worker.steps import causes, events_of, job_of, log_of, run_in_background, submit, wait_step
from worker import housekeeping, supervisor
from worker.app import claim_next, run_available, run_claimed
from worker.context import WorkerContext
from worker.housekeeping import Housekeeping, Watch

POINTS = 60


@contextmanager
def broken_commits(context: WorkerContext, breaks: Callable[[], str | None]) -> Iterator[None]:
    """The connection breaks around a commit: `before` it (it is lost), `after` it (it took place) or not at all."""
    dialect = context.database.engine.dialect
    commit = dialect.do_commit
    error = sqlite3.OperationalError if context.database.sqlite else psycopg.OperationalError

    def do_commit(connection: object) -> None:
        when = breaks()
        if when == "before":
            dialect.do_rollback(connection)
        else:
            commit(connection)
        if when is not None:
            raise error("server closed the connection unexpectedly")

    dialect.do_commit = do_commit
    try:
        yield
    finally:
        dialect.do_commit = commit


def test_a_commit_of_unknown_outcome_is_neither_lost_nor_done_twice(context: WorkerContext) -> None:
    chance = random.Random(4)
    tried: Counter[str | None] = Counter()

    def breaks() -> str | None:
        when = chance.choice(["before", "after", None])
        tried[when] += 1
        return when

    job_id = submit(context, {"do": "checkpoint", "points": str(POINTS), "seconds": "3"}, checkpoint={"keep": 2})
    claim = claim_next(context)
    assert claim is not None
    with broken_commits(context, breaks):
        run_claimed(context, claim)
    assert min(tried.values()) >= 3, tried
    job = job_of(context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.SUCCEEDED, 1, 0)
    assert violations(context.database, job_id, POINTS) == []
    assert log_of(context, job_id) == f"tiny child of {job_id} attempt 1\n"
    told = [(event.data or {})["step"] for event in events_of(context, job_id, "checkpoint")]
    assert told == sorted(set(told)), "each checkpoint is told once"
    with context.database.read(DEFAULT) as session:
        assert len(history.artifacts(session, job_id)) == 2
    assert causes(context, job_id) == [Cause.SUCCEEDED]
    assert context.stats.report(running=0, spooled=0, gpus=[])["attempts_ended_total"] == {"succeeded": 1}


def test_a_claim_that_nobody_learnt_of_is_given_back_without_a_fault(context: WorkerContext) -> None:
    job_id = submit(context)
    with broken_commits(context, lambda: "after"):
        assert claim_next(context) is None
    assert job_of(context, job_id).status == Status.RUNNING, "the claim took place"
    keeper = Housekeeping(context)
    keeper.release_unheard()
    assert job_of(context, job_id).status == Status.RUNNING, "it may be about to begin"
    keeper.release_unheard()
    assert (job_of(context, job_id).status, job_of(context, job_id).faults) == (Status.QUEUED, 0)
    assert causes(context, job_id) == [Cause.HANDED_BACK]
    run_available(context)
    assert violations(context.database, job_id, 3) == []


def test_what_runs_is_not_given_back(lite_context: WorkerContext) -> None:
    job_id = submit(lite_context, {"seconds": "2", "points": "20"})
    thread = run_in_background(lite_context)
    wait_step(lite_context, job_id, 2)
    keeper = Housekeeping(lite_context)
    for _ in range(3):
        keeper.release_unheard()
    thread.join(timeout=300)
    assert causes(lite_context, job_id) == [Cause.SUCCEEDED]


def test_an_own_reconciler_goes_on_where_another_took_the_job(lite_context: WorkerContext) -> None:
    """Its claim was taken back and is another's now: nothing to release."""
    submit(lite_context)
    with broken_commits(lite_context, lambda: "after"):
        claim_next(lite_context)
    keeper = Housekeeping(lite_context)
    keeper.release_unheard()
    with lite_context.database.write(SERVICE) as session:
        ((job_id, fence),) = recovery.owned_by(session, lite_context.id)
        assert recovery.release(session, job_id, fence)
        assert not recovery.release(session, job_id, fence), "twice is once"
    with lite_context.database.write(SERVICE) as session:
        again = queue.claim(session, queue.Offer("worker_other", idle=True), 60_000)
    assert again is not None
    keeper.release_unheard()
    assert (job_of(lite_context, job_id).status, job_of(lite_context, job_id).fence) == (Status.RUNNING, again.fence)


def test_a_standby_that_cannot_write_yet_is_waited_for(
    tmp_path: Path, fresh_postgres_url: str, postgres_url: str, valkey: Valkey
) -> None:
    """A failover: connections are cut, then a server answers that is read-only for a while."""
    settings = quick_settings(tmp_path, fresh_postgres_url, valkey.url, child_command=TINY_CHILD, lease_seconds=60.0)
    context = WorkerContext.create(settings)
    name = fresh_postgres_url.partition("?")[0].rpartition("/")[2]
    job_id = submit(context, {"points": str(POINTS), "seconds": "3"})
    thread = run_in_background(context)
    wait_step(context, job_id, 3)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        wait_until(lambda: errors_of(context) >= 3, "the worker to meet the standby")
        assert claim_next(context) is None, "a claim that cannot be written is no claim"
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    thread.join(timeout=300)
    assert (job_of(context, job_id).status, job_of(context, job_id).attempt) == (Status.SUCCEEDED, 1)
    assert violations(context.database, job_id, POINTS) == []
    context.app.close()
    context.database.dispose()


def errors_of(context: WorkerContext) -> int:
    return int(context.stats.report(running=0, spooled=0, gpus=[])["database_errors_total"])


def test_what_cannot_be_written_is_not_hoarded(lite_context: WorkerContext) -> None:
    """Reads succeed and writes do not, as on a full disk: the spool stays bounded and holds the training back."""
    many = 3 * supervisor.SPOOL_ITEMS
    job_id = submit(lite_context, {"points": str(many)})
    failing = threading.Event()
    with broken_commits(lite_context, lambda: "before" if failing.is_set() else None):
        thread = run_in_background(lite_context)
        wait_step(lite_context, job_id, 1)
        failing.set()
        for _ in range(2):  # a commit that was under way when they began to fail still empties the spool once
            wait_until(lambda: lite_context.running.spool_items() >= supervisor.SPOOL_ITEMS, "the spool to be full")
            time.sleep(3 * lite_context.settings.write_seconds)
        assert lite_context.running.spool_items() == supervisor.SPOOL_ITEMS
        failing.clear()
        thread.join(timeout=300)
    with lite_context.database.read(DEFAULT) as session:
        steps = [point.step for point in history.metrics(session, job_id, limit=many + 1)]
    assert steps == list(range(1, many + 1))


class Clocks:
    """This process's monotonic clock and the database's, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own, self.database = 100.0, 5000.0
        monkeypatch.setattr(housekeeping.time, "monotonic", lambda: self.own)

    def saw(self, watch: Watch, own: float, database: float | None = None) -> bool:
        self.own += own
        self.database += own if database is None else database
        return watch.saw(int(1000 * self.database))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.mark.parametrize(
    ("own", "database", "why"),
    [
        (61, None, "this process was stopped (SIGSTOP)"),
        (1, 3600, "the database's clock was put forward, or its host slept"),
        (1, -3600, "another host with another clock took its place"),
        (40, 40, "two rounds missed an outage of two thirds of a lease"),
    ],
)
def test_a_gap_makes_the_watch_begin_anew(clocks: Clocks, own: float, database: float | None, why: str) -> None:
    watch = Watch(60)
    assert [clocks.saw(watch, 10) for _ in range(8)] == [False] * 6 + [True] * 2
    assert not clocks.saw(watch, own, database), why
    assert [clocks.saw(watch, 10) for _ in range(7)] == [False] * 5 + [True] * 2, "a whole lease from there"
    watch.lost()
    assert not clocks.saw(watch, 10)


def test_a_job_of_a_dead_owner_that_is_cancelled_ends_by_any_reconciler(context: WorkerContext) -> None:
    job_id = submit(context)
    with context.database.write(SERVICE) as session:
        assert queue.claim(session, queue.Offer("worker_gone", idle=True), 1) is not None
    with context.database.write(DEFAULT) as session:
        assert lifecycle.cancel(session, job_id).status == Status.CANCELLING
    keeper = Housekeeping(context)
    wait_until(lambda: bool(keeper.reclaim()), "the watch to have seen a lease")
    assert job_of(context, job_id).status == Status.CANCELLED
    assert causes(context, job_id) == [Cause.WORKER_LOST]
