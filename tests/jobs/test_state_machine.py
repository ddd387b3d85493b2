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
from hypothesis.stateful import initialize, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.environment import environment_key
from jobs.errors import Conflict, FenceLost
from jobs.repository import attempts, models, queue, recovery, workers
from jobs.repository.attempts import Claim, Mark, NewArtifact, Stored
from jobs.repository.core import append_events
from jobs.repository.queue import Offer
from jobs.states import Cause, Drain, FailureCode, Status
from jobs.tables import Job, Worker
from tests.jobs.actors import (
    FINISHES,
    HANDS_BACK,
    NAMES,
    RELEASE_CAUSES,
    RELEASED,
    SUSPENDS,
    WORKERS,
    ends,
    environment,
)
from tests.jobs.model import KEEP, Expected
from tests.jobs.users import Users, picked, picks
from tests.support.specs import train_body

LEASE_MS = 3_600_000  # only `stop` makes a lease run out
LONG_RUN = os.environ.get("ADDER_STATE_MACHINE_EXAMPLES")
LINE = select(Job.id).where(Job.status == Status.QUEUED).order_by(Job.priority.desc(), Job.turn, Job.id)


def settings_for(examples: int) -> profile:
    return profile(
        max_examples=int(LONG_RUN or examples),
        stateful_step_count=40,
        derandomize=LONG_RUN is None,
        database=None,
        deadline=None,
        # Shrinking replays hundreds of examples; a failure says its steps anyway.
        phases=(Phase.generate, Phase.shrink) if LONG_RUN else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


class Power(Exception):
    """It is cut in the middle of a transaction."""


class JobsMachine(Users):
    @initialize()
    def begin(self) -> None:
        for worker in WORKERS:
            self._heartbeat(worker)
        for _ in range(2):
            self._submit(None, train_body())
        self._claim("worker_b")

    def _heartbeat(self, worker: str) -> None:
        kind = WORKERS[worker]
        row: dict[str, Any] = {"id": worker, "hostname": "here", "pid": 1, "slots": 2, "info": {}, "stats": {}}
        row |= {"device": "cuda" if kind.gpus else "cpu", "devices": list(kind.devices), "offers": list(kind.keys)}
        with self.db.write(SERVICE) as session:
            recovery.heartbeat(session, row | {"memory_mb": kind.memory_mb})

    @rule(worker=st.sampled_from(sorted(WORKERS)), idle=st.sampled_from([True, True, False]))
    def claim(self, worker: str, idle: bool) -> None:
        """Woken by a message, by the same one twice, or by none: that makes no difference."""
        self._claim(worker, idle)

    def _claim(self, worker: str, idle: bool = True) -> None:
        kind = WORKERS[worker]
        offer = Offer(worker, kind.devices, kind.gpus, kind.memory_mb, kind.keys, NAMES, idle)
        with self.db.write(SERVICE) as session:
            line = session.execute(LINE).scalars().all()
            claim = queue.claim(session, offer, LEASE_MS)
        able = [job_id for job_id in line if self._fits(self.model.jobs[job_id], worker, idle)]
        if claim is None:
            assert not able
            return
        assert claim.job_id == able[0]
        job = self.model.jobs[claim.job_id]
        assert claim.fence > job.fence
        assert claim.device in kind.devices
        assert job.device in ("auto", claim.device.partition(":")[0])
        job.causes.append(None)
        assert (claim.attempt, claim.faults, claim.max_attempts) == (len(job.causes), job.faults, job.max_attempts)
        assert claim.environment_key == job.environment_key
        if job.exact and job.environment_key is not None:
            assert job.environment_key == environment_key(environment(NAMES.get(claim.device, claim.device)))
        job.status, job.owner = Status.RUNNING, claim
        self.claims.append(claim)

    def _fits(self, job: Expected, worker: str, idle: bool) -> bool:
        kind = WORKERS[worker]
        if worker in self.draining or job.device not in kind.takes or job.memory_mb > kind.memory_mb:
            return False
        if job.exact and job.environment_key is not None and job.environment_key not in kind.keys:
            return False
        return idle or not 0 < job.faults >= job.max_attempts - 1

    @rule(worker=st.sampled_from(sorted(WORKERS)), mode=st.sampled_from([None, None, None, *Drain]))
    def drain(self, worker: str, mode: Drain | None) -> None:
        """A worker that drains claims nothing; its heartbeats do not undo that, and its jobs stay its own."""
        with self.db.write(SERVICE) as session:
            row = session.get_one(Worker, worker)
            if mode is None:
                workers.undrain(session, row)
            else:
                workers.drain(session, row, mode)
        (self.draining.discard if mode is None else self.draining.add)(worker)
        self._heartbeat(worker)

    def _write(self, claim: Claim, what: Callable[[Session, Job], None], allowed: bool = True) -> bool:
        """Whether the attempt wrote; one that lost its job must be told so, and an edge that is none refused."""

        def attempt() -> Mark:
            with self.db.write(DEFAULT) as session:
                what(session, job := attempts.lock(session, claim, LEASE_MS))
                return attempts.mark_of(job)

        owns = self.model.owns(claim)
        if not owns or not allowed:
            with pytest.raises(Conflict if owns else FenceLost):
                attempt()
            return False
        mark = attempt()
        self.model.jobs[claim.job_id].expired = False
        with self.db.write(DEFAULT) as session:
            # One whose connection broke at the commit finds out that it took place.
            assert attempts.landed(session, claim, mark) or attempts.cause_of(session, claim) is not None
        return True

    @rule(
        pick=picks,
        step=st.integers(1, 6),
        what=st.sampled_from(["history", "history", "checkpoint", "artifact", "die"]),
    )
    def write(self, pick: int, step: int, what: str) -> None:
        self._wake(picked(self.claims, pick), what, step)

    def _wake(self, claim: Claim, what: str, step: int) -> None:
        getattr(self, f"_write_{what}")(claim, step)
        with self.db.read(DEFAULT) as session:
            if self.model.owns(claim):
                assert attempts.status(session, claim) is self.model.jobs[claim.job_id].status
            else:
                with pytest.raises(FenceLost):
                    attempts.status(session, claim)
            if (job := self.model.jobs.get(claim.job_id)) is not None:
                assert attempts.cause_of(session, claim) == job.causes[claim.attempt - 1]

    def _write_history(self, claim: Claim, first: int) -> None:
        value = float(claim.attempt)
        names = ("train/loss", "val/loss")
        points = [(name, step) for step in range(first, first + 3) for name in names]
        log = f"step {first} ü\n"

        def write(session: Session, job: Job) -> None:
            rows = [{"name": n, "step": s, "epoch": 1, "value": value, "time": 1} for n, s in points]
            attempts.add_metrics(session, job, rows)
            append_events(session, job, [{"type": "note", "message": "."}])
            attempts.add_log(session, job, log)
            attempts.freeze(job, environment(NAMES.get(claim.device, claim.device)))

        if self._write(claim, write):
            job = self.model.jobs[claim.job_id]
            job.points = dict.fromkeys(points, value) | job.points
            job.log += log
            runs_on = environment(NAMES.get(claim.device, claim.device))
            job.environment_key = job.environment_key or environment_key(runs_on)

    def _write_checkpoint(self, claim: Claim, step: int) -> None:
        stored = self._store()
        if self._write(claim, lambda s, job: self._discarded(attempts.add_checkpoint(s, job, step, stored, KEEP))):
            self.model.jobs[claim.job_id].checkpoint(step, stored.sha256)

    def _write_artifact(self, claim: Claim, number: int) -> None:
        stored, name = self._store(), f"curves-{number % 2}.png"
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

    def _write_die(self, claim: Claim, _: int) -> None:
        """All of a transaction or nothing, and one who does not know which of the two can find out."""
        marks = []

        def write(session: Session, job: Job) -> None:
            attempts.add_metrics(session, job, [{"name": "x", "step": 1, "epoch": 1, "value": 1.0, "time": 1}])
            attempts.add_log(session, job, "lost")
            marks.append(attempts.mark_of(job))
            raise Power

        with pytest.raises(Power if self.model.owns(claim) else FenceLost), self.db.write(DEFAULT) as session:
            write(session, attempts.lock(session, claim, LEASE_MS))
        with self.db.write(DEFAULT) as session:
            assert not any(attempts.landed(session, claim, mark) for mark in marks)

    @rule(pick=picks, how=ends)
    def end(self, pick: int, how: tuple[str, Any]) -> None:
        self._end(picked(self.claims, pick), how)

    def _end(self, claim: Claim, how: tuple[str, Any]) -> None:
        what, to = how
        getattr(self, f"_{what}")(claim, to)

    def _finish(self, claim: Claim, to: Status) -> None:
        code = "diverged"
        job = self.model.jobs.get(claim.job_id)
        error = {"code": FailureCode(code), "message": "no", "log_tail": ""} if to is Status.FAILED else None
        allowed = job is not None and to in FINISHES.get(job.status, ())
        if self._write(claim, lambda s, row: attempts.finish(s, row, to, "It ended.", error), allowed) and job:
            job.end_attempt(Cause(code if error else to))
            job.status = to

    def _hand_back(self, claim: Claim, to: Status) -> None:
        job = self.model.jobs.get(claim.job_id)
        allowed = job is not None and to in HANDS_BACK.get(job.status, ())
        if self._write(claim, lambda s, row: attempts.hand_back(s, row, to, "Handed back."), allowed) and job:
            job.end_attempt(Cause.PAUSED if to is Status.PAUSED else Cause.HANDED_BACK)
            job.status = to
            if to is Status.QUEUED:
                job.queue()

    def _suspend(self, claim: Claim, cause: Cause) -> None:
        job = self.model.jobs.get(claim.job_id)
        allowed = job is not None and job.status in SUSPENDS
        if self._write(claim, lambda s, row: attempts.suspend(s, row, cause, "It is full."), allowed) and job:
            job.end_attempt(cause)
            job.status = Status.PAUSED

    def _release(self, claim: Claim, _: None) -> None:
        """Its worker finds a job that it owns and knows nothing of."""
        with self.db.write(SERVICE) as session:
            assert recovery.release(session, claim.job_id, claim.fence) == self.model.owns(claim)
        if not self.model.owns(claim):
            return
        job = self.model.jobs[claim.job_id]
        before, job.status = job.status, RELEASED[job.status]
        job.end_attempt(RELEASE_CAUSES[before])
        if job.status is Status.QUEUED:
            job.queue()

    def _fault(self, claim: Claim, _: None) -> None:
        if self._write(claim, lambda s, row: attempts.fault(s, row, "Signal 9 ended it.")):
            self.model.jobs[claim.job_id].fault()

    # What nobody asks for

    @rule(
        pick=picks,
        reconcilers=st.sampled_from([1, 1, 2, 0]),
        heirs=st.lists(st.sampled_from(sorted(WORKERS)), min_size=1, max_size=3),
        wakes=st.sampled_from(["history", "checkpoint", "artifact", "die"]),
        how=ends,
    )
    def stop(self, pick: int, reconcilers: int, heirs: list[str], wakes: str, how: tuple[str, Any]) -> None:
        """The owner's worker stands still beyond its lease, others take over, it wakes up and goes on."""
        claim = picked(self.claims, pick)
        if self.model.owns(claim):
            self.model.jobs[claim.job_id].expired = True
            with self.db.write(SERVICE) as session:
                session.execute(update(Job).where(Job.id == claim.job_id).values(lease_expires_at=1))
        self._reclaim(reconcilers)
        for heir in heirs:
            self._claim(heir)
        self._wake(claim, wakes, 1)
        if not self.model.owns(claim):
            self._end(claim, how)

    def _reclaim(self, reconcilers: int) -> None:
        for _ in range(reconcilers):
            lost = {job_id for job_id, job in self.model.jobs.items() if job.expired}
            with self.db.write(SERVICE) as session:
                assert set(recovery.reclaim_expired(session)) == lost
            for job_id in lost:
                self.model.jobs[job_id].fault()

    @rule(what=st.sampled_from(["relay once", "relay twice", "collect garbage"]))
    def keep_house(self, what: str) -> None:
        if what == "collect garbage":
            self._collect_garbage()
        else:
            self._relay("once" if what == "relay once" else "twice")

    def _relay(self, sent: Literal["once", "twice"]) -> None:
        """One that sends a message and dies before it deletes the row sends it again."""
        with self.db.read(SERVICE) as session:
            rows = recovery.pending_wakeups(session)
        if sent == "once":
            with self.db.write(SERVICE) as session:
                recovery.wakeups_sent(session, [row_id for row_id, _ in rows])
            for job in self.model.jobs.values():
                job.unsent = 0

    def _collect_garbage(self) -> None:
        """Bytes that something names are never taken for garbage, and all others are."""
        named = {sha256 for job in self.model.jobs.values() for sha256 in job.digests()}
        with self.db.read(SERVICE) as session:
            assert models.unreferenced(session, self.digests) == self.digests - named


@pytest.mark.parametrize("examples", [6, pytest.param(25, marks=pytest.mark.long("a thousand steps"))])
def test_the_database_holds_what_it_should_whoever_acts_when(database: Database, examples: int) -> None:
    run_machine(lambda: JobsMachine(database), settings=settings_for(examples))
