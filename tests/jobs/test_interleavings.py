"""Two transactions on one job, one begun while the other stands open, on PostgreSQL, which lets both run.

Whatever two actors do, the outcome is that of one after the other, or one of them found the job taken and left it.
(On SQLite writers take turns: `BEGIN IMMEDIATE`.)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import FenceLost, JobsError
from jobs.repository import attempts, history, lifecycle, queue, recovery
from jobs.repository.attempts import Claim, Stored
from jobs.repository.core import append_events
from jobs.repository.queue import Offer
from jobs.states import Cause, Status
from jobs.tables import Attempt, Job, Metric, Outbox
from tests.jobs.test_repository import points
from tests.support.servers import wait_until
from tests.support.specs import train_body, train_spec

LEASE_MS = 3_600_000
ANY_ID = re.compile(r"job_\w+")
Act = Callable[[Session, str, Claim | None], Any]
"""What an actor does in its transaction to the job; the claim is that of its last attempt."""


@pytest.fixture
def db(fresh_postgres_url: str) -> Iterator[Database]:
    database = Database(fresh_postgres_url)
    yield database
    database.dispose()


@dataclass
class Actor:
    """A transaction in a thread of its own, which may be made to wait by another one."""

    db: Database
    work: Callable[[Session], Any]
    result: Any = None
    pid: int = 0
    _commit: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)
    _undo: bool = False

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self.db.write(DEFAULT) as session:
                self.pid = session.execute(select(text("pg_backend_pid()"))).scalar_one()
                self.result = self.work(session)
                session.flush()
                self._done.set()
                self._commit.wait()
                if self._undo:
                    raise KeyboardInterrupt  # the process dies before the commit
        except JobsError as error:
            self.result = type(error).__name__
        except KeyboardInterrupt:
            self.result = "died"
        except Exception as error:  # noqa: BLE001  (a deadlock, a broken constraint: no outcome that one may have)
            self.result = f"{type(error).__name__}: {error}"
        finally:
            self._done.set()

    @property
    def blocked(self) -> bool:
        """Whether it waits for a lock, as the server says."""
        if not self.pid:
            return False
        with self.db.read(DEFAULT) as session:
            waits = text("SELECT cardinality(pg_blocking_pids(:pid)) > 0")
            return bool(session.execute(waits, {"pid": self.pid}).scalar_one())

    def settle(self) -> bool:
        """Waits until its work is done or waits for somebody; whether it waits."""
        wait_until(lambda: self._done.wait(0.005) or self.blocked, "the transaction to get on", every=0)
        return not self._done.is_set()

    def end(self, *, undo: bool = False) -> Any:
        self._undo = undo
        self._commit.set()
        self._thread.join(timeout=300)
        assert not self._thread.is_alive(), "the transaction still waits"
        return self.result


def lock_and_write(session: Session, _: str, claim: Claim | None) -> str:
    assert claim is not None
    attempts.add_metrics(session, attempts.lock(session, claim, LEASE_MS), points(1))
    return "wrote"


def succeed(session: Session, _: str, claim: Claim | None) -> str:
    assert claim is not None
    job = attempts.lock(session, claim, LEASE_MS)
    to = Status.CANCELLED if job.status == Status.CANCELLING else Status.SUCCEEDED
    attempts.finish(session, job, to, "It ended.")
    return to


def hand_back(session: Session, _: str, claim: Claim | None) -> str:
    assert claim is not None
    attempts.hand_back(session, attempts.lock(session, claim, LEASE_MS), Status.QUEUED, "Drained.")
    return "handed back"


def fault(session: Session, _: str, claim: Claim | None) -> str:
    assert claim is not None
    attempts.fault(session, attempts.lock(session, claim, LEASE_MS), "Signal 9.")
    return "fault"


def suspend(session: Session, _: str, claim: Claim | None) -> str:
    assert claim is not None
    attempts.suspend(session, attempts.lock(session, claim, LEASE_MS), Cause.DISK_FULL, "Full.")
    return "suspended"


def release(session: Session, job_id: str, claim: Claim | None) -> bool:
    assert claim is not None
    return recovery.release(session, job_id, claim.fence)


def reclaim(session: Session, *_: Any) -> bool:
    return bool(recovery.reclaim_expired(session))


def claim_it(session: Session, *_: Any) -> bool:
    return queue.claim(session, Offer("worker_b"), LEASE_MS) is not None


def cancel(session: Session, job_id: str, _: Claim | None) -> str:
    return lifecycle.cancel(session, job_id).status


def pause(session: Session, job_id: str, _: Claim | None) -> str:
    return lifecycle.pause(session, job_id).status


def resume(session: Session, job_id: str, _: Claim | None) -> str:
    return lifecycle.resume(session, job_id).status


def remove(session: Session, job_id: str, _: Claim | None) -> int:
    return len(lifecycle.delete_job(session, job_id))


def again(session: Session, job_id: str, _: Claim | None) -> str:
    return lifecycle.retry(session, job_id, train_spec(), from_checkpoint=True).status


SKIPS = (reclaim, claim_it)
"""These leave a job that somebody else has locked to a later round."""
OWNERS: tuple[Act, ...] = (lock_and_write, succeed, hand_back, fault, suspend, release)
USERS: tuple[Act, ...] = (cancel, pause, resume, remove)
BY_STATE: dict[str, tuple[Act, ...]] = {
    "queued": (claim_it, cancel, pause, remove),
    "running": (lock_and_write, succeed, hand_back, release, cancel, pause),
    "expired": (*OWNERS, *USERS, reclaim),
    "cancelling": (succeed, fault, release, cancel),
    "paused": (resume, cancel, pause),
    "failed": (again, remove, resume, *OWNERS[:1]),
}


def clear(db: Database) -> None:
    with db.write(DEFAULT) as session:
        session.execute(delete(Job))


def prepare(db: Database, state: str) -> tuple[str, Claim | None]:
    """The only job there is, in this state."""
    clear(db)
    with db.write(DEFAULT) as session:
        job_id = lifecycle.submit(session, train_spec()).job.id
    if state == "queued":
        return job_id, None
    with db.write(DEFAULT) as session:
        claim = queue.claim(session, Offer("worker_a"), LEASE_MS)
        assert claim is not None
        job = attempts.lock(session, claim, LEASE_MS)
        attempts.add_checkpoint(session, job, 1, Stored("a" * 64, 1), keep=2)
        if state == "failed":
            error = {"code": "diverged", "message": "NaN", "log_tail": ""}
            attempts.finish(session, job, Status.FAILED, "NaN", error)
        elif state == "paused":
            lifecycle.pause(session, job_id)
            attempts.hand_back(session, job, Status.PAUSED, "Paused.")
        elif state == "cancelling":
            lifecycle.cancel(session, job_id)
    if state == "expired":
        with db.write(DEFAULT) as session:
            session.execute(update(Job).values(lease_expires_at=1))
    return job_id, claim


def recorded(db: Database) -> list[Any]:
    """All that the two left behind, without ids and times."""
    with db.read(DEFAULT) as session:
        found: list[Any] = []
        for job in session.execute(select(Job).order_by(Job.id)).scalars():
            events = [(e.seq, e.type, ANY_ID.sub("job", e.message)) for e in history.events(session, job.id)]
            steps = [(m.seq, m.step) for m in history.metrics(session, job.id)]
            ends = select(Attempt.attempt, Attempt.cause).where(Attempt.job_id == job.id).order_by(Attempt.attempt)
            row = (job.status, job.attempt, job.fence, job.faults, job.worker_id, job.last_seq, job.error)
            outbox = len(session.execute(select(Outbox.id).where(Outbox.job_id == job.id)).all())
            saved = attempts.checkpoints(session, job.id)
            found.append((row, events, steps, session.execute(ends).all(), outbox, saved))
    return sorted(found, key=repr)


Outcome = tuple[list[Any], list[Any]]
"""What each of them was told, and what the database holds."""


def one_after_the_other(db: Database, state: str, *acts: Act) -> Outcome:
    job_id, claim = prepare(db, state)
    return [Actor(db, bound(act, job_id, claim)).end() for act in acts], recorded(db)


def side_by_side(db: Database, state: str, first: Act, second: Act, *, undo: bool) -> tuple[Outcome, bool]:
    """`second` begins while `first` stands open, which then commits or dies; also, whether `second` had to wait."""
    job_id, claim = prepare(db, state)
    a = Actor(db, bound(first, job_id, claim))
    a.settle()
    b = Actor(db, bound(second, job_id, claim))
    waited = b.settle()
    results = [a.end(undo=undo), b.end()]
    return (results, recorded(db)), waited


def bound(act: Act, job_id: str, claim: Claim | None) -> Callable[[Session], Any]:
    return lambda session: act(session, job_id, claim)


LONG = {state: pytest.mark.long("dozens of pairs of transactions") for state in ("running", "expired", "cancelling")}


@pytest.mark.parametrize("state", [pytest.param(state, marks=LONG.get(state, ())) for state in BY_STATE])
def test_two_transactions_have_the_outcome_of_one_after_the_other(db: Database, state: str) -> None:
    acts = BY_STATE[state]
    pairs = [(a, b) for a in acts for b in acts if state != "expired" or reclaim in (a, b)]
    alone = {act: one_after_the_other(db, state, act) for act in acts}
    serial = {pair: one_after_the_other(db, state, *pair) for pair in {*pairs, *((b, a) for a, b in pairs)}}
    waited = 0
    for first, second in pairs:
        outcome, had_to_wait = side_by_side(db, state, first, second, undo=False)
        told, left = serial[second, first]
        allowed = [serial[first, second], (told[::-1], left)]
        if second in SKIPS:
            allowed.append(([*alone[first][0], False], alone[first][1]))
        assert outcome in allowed, f"{first.__name__} committed while {second.__name__} was under way"
        waited += had_to_wait
    assert waited, "some of them have to wait for each other"


@pytest.mark.parametrize("state", BY_STATE)
def test_a_transaction_that_dies_is_as_if_it_had_never_been(db: Database, state: str) -> None:
    acts = BY_STATE[state]
    first = acts[0]
    nothing = one_after_the_other(db, state)[1]
    for second in acts:
        outcome, _ = side_by_side(db, state, first, second, undo=True)
        told, left = one_after_the_other(db, state, second)
        allowed = [(["died", *told], left), *([(["died", False], nothing)] if second in SKIPS else [])]
        assert outcome in allowed, f"{first.__name__} died while {second.__name__} was under way"


def test_a_stale_attempt_that_is_made_to_wait_writes_nothing(db: Database) -> None:
    """Others take its job over when the old owner wakes up: it waits for them, then learns that it lost."""
    job_id, old = prepare(db, "expired")
    taking = Actor(db, lambda s: reclaim(s) and claim_it(s))
    assert not taking.settle()
    waking = Actor(db, lambda s: lock_and_write(s, job_id, old))
    assert waking.settle(), "its UPDATE waits for the reconciler's transaction"
    assert (taking.end(), waking.end()) == (True, FenceLost.__name__), "the job runs again, for another owner"
    with db.read(DEFAULT) as session:
        assert session.execute(select(Metric)).all() == []
        ended = session.execute(select(Attempt.attempt, Attempt.cause).order_by(Attempt.attempt)).all()
        assert [tuple(row) for row in ended] == [(1, Cause.WORKER_LOST), (2, None)]


def test_an_owner_that_wrote_before_the_reconciler_came_keeps_its_job(db: Database) -> None:
    job_id, owner = prepare(db, "expired")
    writing = Actor(db, lambda s: lock_and_write(s, job_id, owner))
    assert not writing.settle()
    for reconciler in [Actor(db, reclaim) for _ in range(2)]:
        assert not reconciler.settle(), "a row that is locked is skipped, not waited for"
        assert reconciler.end() is False
    assert writing.end() == "wrote"
    assert Actor(db, reclaim).end() is False, "the write has renewed the lease"


def test_a_reader_waits_for_no_writer_and_skips_no_row(db: Database) -> None:
    """`seq` is given out under the lock: the later number cannot become visible before the earlier one."""
    job_id, owner = prepare(db, "running")
    first = Actor(db, lambda s: lock_and_write(s, job_id, owner))
    first.settle()

    def note(session: Session) -> None:
        job = session.execute(select(Job).where(Job.id == job_id).with_for_update()).scalar_one()
        append_events(session, job, [{"type": "note", "message": "Later."}])

    second = Actor(db, note)
    assert second.settle(), "the later writer waits for its number"
    with db.read(DEFAULT) as session:
        before = [e.seq for e in history.events(session, job_id)]
        assert history.metrics(session, job_id) == []
    first.end()
    second.end()
    with db.read(DEFAULT) as session:
        point = history.metrics(session, job_id)[0].seq
        later = history.events(session, job_id)[-1].seq
    assert max(before) < point < later


def test_one_key_at_once_makes_one_job(db: Database) -> None:
    def submit(session: Session) -> tuple[str, bool]:
        done = lifecycle.submit(session, train_spec(), key="k", body=train_body())
        return done.job.id, done.created

    for undo in (False, True):
        clear(db)
        first = Actor(db, submit)
        assert not first.settle()
        second = Actor(db, submit)
        assert second.settle(), "the second asks what the first one made, so it waits"
        outcome, (job_id, created) = first.end(undo=undo), second.end()
        assert created == undo
        assert undo or outcome == (job_id, True)


def test_workers_that_claim_at_once_take_different_jobs(db: Database) -> None:
    clear(db)
    with db.write(DEFAULT) as session:
        ids = [lifecycle.submit(session, train_spec()).job.id for _ in range(3)]

    def take(session: Session) -> str | None:
        found = queue.claim(session, Offer("worker_a"), LEASE_MS)
        return found and found.job_id

    claims = []
    for _ in range(4):  # one more than there are jobs
        claims.append(Actor(db, take))
        assert not claims[-1].settle(), "nobody waits for a claim"
    assert [claim.end() for claim in claims] == [*ids, None]
