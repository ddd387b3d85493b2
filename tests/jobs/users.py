"""What users do to jobs, in `test_state_machine.py`: what they get, and what they are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import delete
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import Conflict, IdempotencyMismatch, NotFound
from jobs.repository import history, lifecycle
from jobs.repository.attempts import Claim
from jobs.spec import SPEC
from jobs.states import FINAL, Status
from jobs.tables import Job, Worker
from tests.jobs.actors import bodies
from tests.jobs.model import Expected, Model
from tests.support.specs import train_spec

T = TypeVar("T")

picks = st.integers(0, 5)


def picked(among: Sequence[T], pick: int) -> T:
    """One of the newest."""
    return among[-1 - pick % len(among)]


class Users(RuleBasedStateMachine):
    def __init__(self, database: Database) -> None:
        super().__init__()
        self.db = database
        self.model = Model()
        self.seen: dict[str, list[int]] = {}
        self.stored = 0
        self.digests: set[str] = set()
        self.draining: set[str] = set()
        self.ids: list[str] = []
        """Jobs, also deleted ones."""
        self.claims: list[Claim] = []
        """Titles to jobs, also those that have been lost since."""

    def teardown(self) -> None:
        for job_id in self.model.jobs:
            self._read(job_id, 10_000)
            with self.db.read(DEFAULT) as session:
                rows = [*history.metrics(session, job_id), *history.events(session, job_id)]
            assert self.seen[job_id] == sorted(row.seq for row in rows), "a reader that followed has seen every row"
        with self.db.write(DEFAULT) as session:
            for table in (Job, Worker):
                session.execute(delete(table))

    @invariant()
    def the_database_holds_what_it_should(self) -> None:
        with self.db.read(DEFAULT) as session:
            self.model.check(session)

    @rule(key=st.sampled_from([None, None, "k", "l"]), body=bodies)
    def submit(self, key: str | None, body: dict[str, Any]) -> None:
        earlier = self.model.keys.get(key or "")
        if earlier is not None and earlier[1] != body:
            with pytest.raises(IdempotencyMismatch), self.db.write(DEFAULT) as session:
                lifecycle.submit(session, SPEC.validate_python(body), key=key, body=body)
            return
        job_id = self._submit(key, body)
        assert earlier is None or job_id == earlier[0]

    def _submit(self, key: str | None, body: dict[str, Any]) -> str:
        spec = SPEC.validate_python(body)
        with self.db.write(DEFAULT) as session:
            done = lifecycle.submit(session, spec, key=key, body=body)
        assert done.created == (key not in self.model.keys)
        if done.created:
            needs = spec.resources
            memory = int((needs.memory_gb or 0) * 1024)
            self.model.jobs[done.job.id] = Expected(needs.device, memory, needs.exact, spec.limits.max_attempts)
            self.ids.append(done.job.id)
            if key is not None:
                self.model.keys[key] = (done.job.id, body)
        return done.job.id

    def _asked(self, job_id: str, allowed: set[Status], what: Callable[[Session, str], Any]) -> bool:
        """Whether the user gets what was asked for; a job that is gone or in another state says so."""
        job = self.model.jobs.get(job_id)
        if job is not None and job.status in allowed:
            with self.db.write(DEFAULT) as session:
                what(session, job_id)
            return True
        with pytest.raises(NotFound if job is None else Conflict), self.db.write(DEFAULT) as session:
            what(session, job_id)
        return False

    @rule(pick=picks, what=st.sampled_from(["cancel", "pause", "resume", "retry", "go_on", "delete", "read", "read"]))
    def ask(self, pick: int, what: str) -> None:
        getattr(self, f"_{what}")(picked(self.ids, pick))

    def _cancel(self, job_id: str) -> None:
        if not self._asked(job_id, set(Status) - {Status.SUCCEEDED, Status.FAILED}, lifecycle.cancel):
            return
        job = self.model.jobs[job_id]
        if job.status in (Status.QUEUED, Status.PAUSED):
            job.status = Status.CANCELLED
        elif job.status is not Status.CANCELLED:
            job.status = Status.CANCELLING

    def _pause(self, job_id: str) -> None:
        allowed = {Status.RUNNING, Status.PAUSING, Status.PAUSED}
        if self._asked(job_id, allowed, lifecycle.pause) and self.model.jobs[job_id].status is Status.RUNNING:
            self.model.jobs[job_id].status = Status.PAUSING

    def _resume(self, job_id: str) -> None:
        if self._asked(job_id, {Status.PAUSED}, lifecycle.resume):
            self.model.jobs[job_id].queue()

    def _retry(self, job_id: str, from_checkpoint: bool = False) -> None:
        old, made = self.model.jobs.get(job_id), []
        possible = old is not None and bool(old.checkpoints or not from_checkpoint)

        def ask(session: Session, job_id: str) -> None:
            made.append(lifecycle.retry(session, job_id, train_spec(), from_checkpoint=from_checkpoint).id)

        if not self._asked(job_id, set(FINAL) if possible else set(), ask) or old is None:
            return
        self.ids += made
        self.model.jobs[made[0]] = new = Expected()
        if from_checkpoint:
            step = max(old.checkpoints)
            new.checkpoint(step, old.checkpoints[step])

    def _go_on(self, job_id: str) -> None:
        self._retry(job_id, from_checkpoint=True)

    def _delete(self, job_id: str) -> None:
        stored: list[str] = []
        if self._asked(job_id, set(FINAL), lambda s, id: stored.extend(lifecycle.delete_job(s, id))):
            job = self.model.jobs.pop(job_id)
            self.seen.pop(job_id, None)
            self.model.keys = {k: v for k, v in self.model.keys.items() if v[0] != job_id}
            assert set(stored) == job.digests()

    def _read(self, job_id: str, limit: int = 3) -> None:
        """Follows a job as the API's stream does: what is new of both, by `seq`, up to where both were read."""
        if job_id not in self.model.jobs:
            return
        seen = self.seen.setdefault(job_id, [])
        after = seen[-1] if seen else 0
        with self.db.read(DEFAULT) as session:
            pages = [
                [row.seq for row in read(session, job_id, after_seq=after, limit=limit)]
                for read in (history.metrics, history.events)
            ]
        end = min((page[-1] for page in pages if len(page) == limit), default=2**63)
        seen += sorted(seq for page in pages for seq in page if seq <= end)
