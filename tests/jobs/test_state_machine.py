"""Users, workers that lose their jobs and go on writing, reconcilers and the outbox relay, in any order, on both
databases: after each step the database holds what `model.py` says.

Examples are the same in each run. `ADDER_STATE_MACHINE_EXAMPLES=2000` looks at that many fresh ones instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from jobs.database import Database
from jobs.errors import Conflict, FenceLost, IdempotencyMismatch, NotFound
from jobs.repository import attempts, catalog, history, lifecycle, queue, recovery
from jobs.repository.attempts import Claim, Mark, NewArtifact, Stored
from jobs.repository.core import append_events
from jobs.repository.queue import Offer
from jobs.states import FINAL, Cause, FailureCode, Status
from jobs.tables import Job, Worker
from tests.jobs.model import KEEP, Expected, Model
from tests.support.specs import train_body, train_spec

LEASE_MS = 3_600_000  # only `expire` makes a lease run out
LONG_RUN = os.environ.get("ADDER_STATE_MACHINE_EXAMPLES")
DEVICES = {"worker_a": ("cpu",), "worker_b": ("cuda:0", "cpu"), "worker_c": ("cuda:1",)}
EXAMPLES = profile(
    max_examples=int(LONG_RUN or 40),
    stateful_step_count=40,
    derandomize=LONG_RUN is None,
    database=None,
    deadline=None,
    # Shrinking replays hundreds of examples; a failure says its steps anyway.
    phases=(Phase.generate, Phase.shrink) if LONG_RUN else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)

FINISHES: dict[Status, set[Status]] = {
    Status.RUNNING: {Status.SUCCEEDED, Status.FAILED},
    Status.PAUSING: {Status.SUCCEEDED, Status.FAILED},
    Status.CANCELLING: {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
}
SUSPENDS = {Status.RUNNING, Status.PAUSING}
HANDS_BACK: dict[Status, set[Status]] = {
    Status.RUNNING: {Status.QUEUED},
    Status.PAUSING: {Status.QUEUED, Status.PAUSED},
    Status.CANCELLING: set(),
}
RELEASED = {
    Status.RUNNING: Status.QUEUED,
    Status.PAUSING: Status.PAUSED,
    Status.CANCELLING: Status.CANCELLED,
}
RELEASE_CAUSES = {
    Status.RUNNING: Cause.HANDED_BACK,
    Status.PAUSING: Cause.PAUSED,
    Status.CANCELLING: Cause.CANCELLED,
}


class Power(Exception):
    """It is cut in the middle of a transaction."""


class JobsMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    claims = Bundle("claims")
    """Titles to jobs, also those that have been lost since."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.db = database
        self.model = Model()
        self.seen: dict[str, list[int]] = {}
        self.stored = 0
        self.digests: set[str] = set()

    def teardown(self) -> None:
        for job_id in self.model.jobs:
            self._read(job_id, 10_000)
            with self.db.read() as session:
                rows = [*history.metrics(session, job_id), *history.events(session, job_id)]
            assert self.seen[job_id] == sorted(row.seq for row in rows), "a reader that followed has seen every row"
        with self.db.write() as session:
            for table in (Job, Worker):
                session.execute(delete(table))

    @invariant()
    def the_database_holds_what_it_should(self) -> None:
        with self.db.read() as session:
            self.model.check(session)

    @initialize()
    def start_workers(self) -> None:
        with self.db.write() as session:
            for worker, devices in DEVICES.items():
                row: dict[str, Any] = {"id": worker, "hostname": "here", "pid": 1, "slots": 2, "info": {}, "stats": {}}
                kind = devices[0].partition(":")[0]
                row |= {"device": kind, "devices": list(devices), "memory_mb": 4096, "offers": []}
                recovery.heartbeat(session, row)

    # Users

    @rule(
        target=jobs,
        key=st.sampled_from([None, None, "k", "l"]),
        priority=st.sampled_from([0, 0, 5]),
        device=st.sampled_from(["auto", "auto", "cpu", "cuda"]),
        max_attempts=st.integers(1, 3),
        label=st.sampled_from(["ann", "bob"]),
    )
    def submit(self, key: str | None, priority: int, device: str, max_attempts: int, label: str) -> Any:
        changes: dict[str, Any] = {"priority": priority, "resources": {"device": device}, "labels": {"user": label}}
        changes["limits"] = {"max_attempts": max_attempts}
        spec, body = train_spec(**changes), train_body(**changes)
        earlier = self.model.keys.get(key or "")
        if earlier is not None and earlier[1] != body:
            with pytest.raises(IdempotencyMismatch), self.db.write() as session:
                lifecycle.submit(session, spec, key=key, body=body)
            return multiple()
        with self.db.write() as session:
            done = lifecycle.submit(session, spec, key=key, body=body)
        if earlier is not None:
            assert (done.job.id, done.created) == (earlier[0], False)
            return multiple()
        assert done.created
        self.model.jobs[done.job.id] = Expected(device, max_attempts)
        if key is not None:
            self.model.keys[key] = (done.job.id, body)
        return done.job.id

    def _ask(self, job_id: str, allowed: set[Status], what: Callable[[Session, str], Any]) -> bool:
        """Whether the user gets what was asked for; a job that is gone or in another state says so."""
        job = self.model.jobs.get(job_id)
        if job is not None and job.status in allowed:
            with self.db.write() as session:
                what(session, job_id)
            return True
        with pytest.raises(NotFound if job is None else Conflict), self.db.write() as session:
            what(session, job_id)
        return False

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        if not self._ask(job_id, set(Status) - {Status.SUCCEEDED, Status.FAILED}, lifecycle.cancel):
            return
        job = self.model.jobs[job_id]
        if job.status in (Status.QUEUED, Status.PAUSED):
            job.status = Status.CANCELLED
        elif job.status is not Status.CANCELLED:
            job.status = Status.CANCELLING

    @rule(job_id=jobs)
    def pause(self, job_id: str) -> None:
        allowed = {Status.RUNNING, Status.PAUSING, Status.PAUSED}
        if self._ask(job_id, allowed, lifecycle.pause) and self.model.jobs[job_id].status is Status.RUNNING:
            self.model.jobs[job_id].status = Status.PAUSING

    @rule(job_id=jobs)
    def resume(self, job_id: str) -> None:
        if self._ask(job_id, {Status.PAUSED}, lifecycle.resume):
            self.model.jobs[job_id].queue()

    @rule(target=jobs, job_id=jobs, from_checkpoint=st.booleans())
    def retry(self, job_id: str, from_checkpoint: bool) -> Any:
        old, made = self.model.jobs.get(job_id), []
        possible = old is not None and bool(old.checkpoints or not from_checkpoint)

        def ask(session: Session, job_id: str) -> None:
            made.append(lifecycle.retry(session, job_id, train_spec(), from_checkpoint=from_checkpoint).id)

        if not self._ask(job_id, set(FINAL) if possible else set(), ask) or old is None:
            return multiple()
        self.model.jobs[made[0]] = new = Expected("auto", 3)
        if from_checkpoint:
            step = max(old.checkpoints)
            new.checkpoint(step, old.checkpoints[step])
        return made[0]

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        stored: list[str] = []
        if self._ask(job_id, set(FINAL), lambda s, id: stored.extend(lifecycle.delete_job(s, id))):
            job = self.model.jobs.pop(job_id)
            self.seen.pop(job_id, None)
            self.model.keys = {k: v for k, v in self.model.keys.items() if v[0] != job_id}
            assert set(stored) == job.digests()

    @rule(job_id=jobs, limit=st.integers(1, 4))
    def read(self, job_id: str, limit: int) -> None:
        if job_id in self.model.jobs:
            self._read(job_id, limit)

    def _read(self, job_id: str, limit: int) -> None:
        """Follows a job as the API's stream does: what is new of both, by `seq`, up to where both were read."""
        seen = self.seen.setdefault(job_id, [])
        after = seen[-1] if seen else 0
        with self.db.read() as session:
            pages = [
                [row.seq for row in read(session, job_id, after_seq=after, limit=limit)]
                for read in (history.metrics, history.events)
            ]
        end = min((page[-1] for page in pages if len(page) == limit), default=2**63)
        seen += sorted(seq for page in pages for seq in page if seq <= end)

    # Workers

    @rule(target=claims, worker=st.sampled_from(sorted(DEVICES)))
    def claim(self, worker: str) -> Any:
        """Woken by a message, by the same one twice, or by none: that makes no difference."""
        kinds = {device.partition(":")[0] for device in DEVICES[worker]}
        with self.db.write() as session:
            line = session.execute(self._line()).scalars().all()
            claim = queue.claim(session, Offer(worker, DEVICES[worker]), LEASE_MS)
        able = [job_id for job_id in line if self.model.jobs[job_id].device in ("auto", *kinds)]
        if claim is None:
            assert not able
            return multiple()
        assert claim.job_id == able[0]
        job = self.model.jobs[claim.job_id]
        assert claim.fence > job.fence
        assert claim.device in DEVICES[worker]
        job.causes.append(None)
        assert (claim.attempt, claim.faults, claim.max_attempts) == (len(job.causes), job.faults, job.max_attempts)
        job.status, job.owner = Status.RUNNING, claim
        return claim

    def _line(self) -> Any:
        return select(Job.id).where(Job.status == Status.QUEUED).order_by(Job.priority.desc(), Job.turn, Job.id)

    def _write(self, claim: Claim, what: Callable[[Session, Job], None], allowed: bool = True) -> bool:
        """Whether the attempt wrote; one that lost its job must be told so, and an edge that is none refused."""

        def attempt() -> Mark:
            with self.db.write() as session:
                what(session, job := attempts.lock(session, claim, LEASE_MS))
                return attempts.mark_of(job)

        owns = self.model.owns(claim)
        if not owns or not allowed:
            with pytest.raises(Conflict if owns else FenceLost):
                attempt()
            return False
        mark = attempt()
        self.model.jobs[claim.job_id].expired = False
        with self.db.write() as session:
            # One whose connection broke at the commit finds out that it took place.
            assert attempts.landed(session, claim, mark) or attempts.cause_of(session, claim) is not None
        return True

    @rule(claim=claims, first=st.integers(1, 6), count=st.integers(0, 3), log=st.sampled_from(["", "a\n", "ü"]))
    def write_history(self, claim: Claim, first: int, count: int, log: str) -> None:
        value = float(claim.attempt)
        names = ("train/loss", "val/loss")
        points = [(name, step) for step in range(first, first + count) for name in names]

        def write(session: Session, job: Job) -> None:
            rows = [{"name": n, "step": s, "epoch": 1, "value": value, "time": 1} for n, s in points]
            attempts.add_metrics(session, job, rows)
            append_events(session, job, [{"type": "note", "message": "."}])
            if log:
                attempts.add_log(session, job, log)

        if self._write(claim, write):
            job = self.model.jobs[claim.job_id]
            job.points = dict.fromkeys(points, value) | job.points
            job.log += log

    @rule(claim=claims, step=st.integers(1, 9))
    def write_checkpoint(self, claim: Claim, step: int) -> None:
        stored = self._store()
        if self._write(claim, lambda s, job: self._discarded(attempts.add_checkpoint(s, job, step, stored, KEEP))):
            self.model.jobs[claim.job_id].checkpoint(step, stored.sha256)

    @rule(claim=claims, name=st.sampled_from(["log.txt", "model.json"]))
    def write_artifact(self, claim: Claim, name: str) -> None:
        stored = self._store()
        new = NewArtifact(name, "file", "text/plain", stored)
        if self._write(claim, lambda s, job: attempts.add_artifacts(s, job, [new])):
            self.model.jobs[claim.job_id].artifacts[name] = stored.sha256

    def _store(self) -> Stored:
        self.stored += 1
        sha256 = f"{self.stored:064x}"
        self.digests.add(sha256)
        return Stored(sha256, 1)

    def _discarded(self, digests: list[str]) -> None:
        assert set(digests) <= self.digests

    @rule(claim=claims)
    def die_while_writing(self, claim: Claim) -> None:
        """All of a transaction or nothing, and one who does not know which of the two can find out."""
        marks = []

        def write(session: Session, job: Job) -> None:
            attempts.add_metrics(session, job, [{"name": "x", "step": 1, "epoch": 1, "value": 1.0, "time": 1}])
            attempts.add_log(session, job, "lost")
            marks.append(attempts.mark_of(job))
            raise Power

        with pytest.raises(Power if self.model.owns(claim) else FenceLost), self.db.write() as session:
            write(session, attempts.lock(session, claim, LEASE_MS))
        with self.db.write() as session:
            assert not any(attempts.landed(session, claim, mark) for mark in marks)

    @rule(claim=claims)
    def look(self, claim: Claim) -> None:
        """What the supervisor polls."""
        with self.db.read() as session:
            if self.model.owns(claim):
                assert attempts.status(session, claim) is self.model.jobs[claim.job_id].status
            else:
                with pytest.raises(FenceLost):
                    attempts.status(session, claim)
            if (job := self.model.jobs.get(claim.job_id)) is not None:
                assert attempts.cause_of(session, claim) == job.causes[claim.attempt - 1]

    @rule(claim=claims, to=st.sampled_from(sorted(FINAL)), code=st.sampled_from(["diverged", "out_of_memory"]))
    def finish(self, claim: Claim, to: Status, code: str) -> None:
        job = self.model.jobs.get(claim.job_id)
        error = {"code": FailureCode(code), "message": "no", "log_tail": ""} if to is Status.FAILED else None
        allowed = job is not None and to in FINISHES.get(job.status, ())
        if self._write(claim, lambda s, row: attempts.finish(s, row, to, "It ended.", error), allowed) and job:
            job.end_attempt(Cause(code if error else to))
            job.status = to

    @rule(claim=claims, to=st.sampled_from([Status.QUEUED, Status.PAUSED]))
    def hand_back(self, claim: Claim, to: Status) -> None:
        job = self.model.jobs.get(claim.job_id)
        allowed = job is not None and to in HANDS_BACK.get(job.status, ())
        if self._write(claim, lambda s, row: attempts.hand_back(s, row, to, "Handed back."), allowed) and job:
            job.end_attempt(Cause.PAUSED if to is Status.PAUSED else Cause.HANDED_BACK)
            job.status = to
            if to is Status.QUEUED:
                job.queue()

    @rule(claim=claims, cause=st.sampled_from([Cause.DISK_FULL, Cause.STORE_LOST]))
    def suspend(self, claim: Claim, cause: Cause) -> None:
        job = self.model.jobs.get(claim.job_id)
        allowed = job is not None and job.status in SUSPENDS
        if self._write(claim, lambda s, row: attempts.suspend(s, row, cause, "It is full."), allowed) and job:
            job.end_attempt(cause)
            job.status = Status.PAUSED

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        """Its worker finds a job that it owns and knows nothing of."""
        with self.db.write() as session:
            assert recovery.release(session, claim.job_id, claim.fence) == self.model.owns(claim)
        if not self.model.owns(claim):
            return
        job = self.model.jobs[claim.job_id]
        before, job.status = job.status, RELEASED[job.status]
        job.end_attempt(RELEASE_CAUSES[before])
        if job.status is Status.QUEUED:
            job.queue()

    @rule(claim=claims)
    def fault(self, claim: Claim) -> None:
        if self._write(claim, lambda s, row: attempts.fault(s, row, "Signal 9 ended it.")):
            self.model.jobs[claim.job_id].fault()

    # What nobody asks for

    @rule(claim=claims)
    def expire(self, claim: Claim) -> None:
        """The owner's worker has stopped, or died, and its lease has run out."""
        if self.model.owns(claim):
            self.model.jobs[claim.job_id].expired = True
            with self.db.write() as session:
                session.execute(update(Job).where(Job.id == claim.job_id).values(lease_expires_at=1))

    @rule(reconcilers=st.integers(1, 2))
    def reclaim(self, reconcilers: int) -> None:
        lost = {job_id for job_id, job in self.model.jobs.items() if job.expired}
        for _ in range(reconcilers):
            with self.db.write() as session:
                assert set(recovery.reclaim_expired(session)) == lost
            for job_id in lost:
                self.model.jobs[job_id].fault()
            lost = set()

    @rule(sent=st.sampled_from(["once", "twice"]))
    def relay(self, sent: Literal["once", "twice"]) -> None:
        """One that sends a message and dies before it deletes the row sends it again."""
        with self.db.read() as session:
            rows = recovery.pending_wakeups(session)
        if sent == "once":
            with self.db.write() as session:
                recovery.wakeups_sent(session, [row_id for row_id, _ in rows])
            for job in self.model.jobs.values():
                job.unsent = 0

    @rule()
    def rewake(self) -> None:
        """A queued job whose message was lost is found, whatever became of the outbox."""
        with self.db.read() as session:
            backlog = recovery.backlog(session, older_than_ms=-60_000, live_ms=LEASE_MS)
        assert set(backlog.jobs) == self.model.of(Status.QUEUED)
        owned = self.model.of(Status.RUNNING, Status.PAUSING, Status.CANCELLING)
        assert backlog.free_slots == max(0, 2 * len(DEVICES) - len(owned))

    @rule()
    def collect_garbage(self) -> None:
        """Bytes that something names are never taken for garbage, and all others are."""
        named = {sha256 for job in self.model.jobs.values() for sha256 in job.digests()}
        with self.db.read() as session:
            assert catalog.unreferenced(session, self.digests) == self.digests - named

    @rule(claim=consumes(claims))
    def forget(self, claim: Claim) -> None:
        """A worker process is gone and with it its title: nobody but the reconciler can end that attempt."""


def test_the_database_holds_what_it_should_whoever_acts_when(database: Database) -> None:
    run_machine(lambda: JobsMachine(database), settings=EXAMPLES)
