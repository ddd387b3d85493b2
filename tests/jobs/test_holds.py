"""What a submission names cannot be deleted between its check and its commit, on PostgreSQL, which lets both run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT, SERVICE
from jobs.clock import now_ms
from jobs.database import Database
from jobs.errors import Conflict
from jobs.repository import lifecycle, models, recovery, workers
from jobs.repository.attempts import Stored
from jobs.repository.core import lock_job
from jobs.spec import SPEC, Spec
from jobs.states import Drain, Status
from jobs.sweeps import references, repository
from jobs.tables import Job, Model, Sweep, Worker
from tests.api.attempt import MANIFEST
from tests.jobs.sweeping import sweep_spec
from tests.jobs.test_interleavings import Actor
from tests.support.specs import train_body, train_spec


@pytest.fixture
def db(fresh_postgres_url: str) -> Iterator[Database]:
    database = Database(fresh_postgres_url)
    yield database
    database.dispose()


def model_in(db: Database, job_id: str | None = None) -> str:
    with db.write(DEFAULT) as session:
        row = models.new_model(MANIFEST, Stored("a" * 64, 1), source="imported", job_id=job_id, metrics=None)
        models.add_model(session, row)
        if job_id is not None:
            session.get_one(Job, job_id).model_id = row.id
        return row.id


def evaluation(model_id: str) -> Spec:
    return SPEC.validate_python({"kind": "evaluate", "model_id": model_id, "dataset": {"name": "digits"}})


def analysis(model_id: str) -> Spec:
    return SPEC.validate_python({"kind": "analyze", "recipe": "figure4", "model_id": model_id})


def start(model_id: str) -> Spec:
    return train_spec(init_from=model_id)


def pupil(model_id: str) -> Spec:
    return train_spec(distill={"teacher": model_id})


def submits(make: Callable[[str], Spec], model_id: str) -> Callable[[Session], str]:
    return lambda session: lifecycle.submit(session, make(model_id)).job.status


def sweeps(model_id: str, **varied: Any) -> Callable[[Session], str]:
    spec = sweep_spec(**varied)

    def create(session: Session) -> str:
        references.hold(session, spec)
        return repository.create(session, spec, [], body={}).status

    return create


def deletes(model_id: str) -> Callable[[Session], str]:
    return lambda session: models.delete_model(session, model_id)


USERS: dict[str, Callable[[str], Callable[[Session], str]]] = {
    "init_from": lambda id: submits(start, id),
    "teacher": lambda id: submits(pupil, id),
    "evaluate": lambda id: submits(evaluation, id),
    "analyze": lambda id: submits(analysis, id),
    "base of a sweep": lambda id: sweeps(id, base=train_body(init_from=id), grid={"seed": [0, 1]}),
    "grid of a sweep": lambda id: sweeps(id, grid={"init_from": [None, id]}),
    "search of a sweep": lambda id: sweeps(
        id, search={"distill.teacher": {"type": "categorical", "choices": [id]}}, trials=2
    ),
}


@pytest.mark.parametrize("use", USERS)
def test_a_model_is_used_or_deleted_and_never_both(db: Database, use: str) -> None:
    model_id = model_in(db)
    using = Actor(db, USERS[use](model_id))
    assert not using.settle()
    deleting = Actor(db, deletes(model_id))
    assert deleting.settle(), "the deletion waits for the submission's commit"
    assert using.end() in (Status.QUEUED, "running")
    assert deleting.end() == Conflict.__name__
    with db.read(DEFAULT) as session:
        assert session.get(Model, model_id) is not None


@pytest.mark.parametrize("use", USERS)
def test_a_submission_that_comes_after_a_deletion_is_refused(db: Database, use: str) -> None:
    model_id = model_in(db)
    deleting = Actor(db, deletes(model_id))
    assert not deleting.settle()
    using = Actor(db, USERS[use](model_id))
    assert using.settle(), "the submission waits for the deletion's commit"
    deleting.end()
    assert using.end() == Conflict.__name__
    with db.read(DEFAULT) as session:
        made = select(func.count()).select_from(Job).union_all(select(func.count()).select_from(Sweep))
        assert list(session.execute(made).scalars()) == [0, 0]


def test_a_deletion_that_dies_lets_the_submission_go_on(db: Database) -> None:
    model_id = model_in(db)
    deleting = Actor(db, deletes(model_id))
    deleting.settle()
    using = Actor(db, submits(start, model_id))
    assert using.settle()
    assert deleting.end(undo=True) == "died"
    assert using.end() == Status.QUEUED


def test_a_model_and_the_job_that_trained_it_are_deleted_side_by_side(db: Database) -> None:
    """Both lock the job before the model, so that they never wait for each other in a circle."""
    with db.write(DEFAULT) as session:
        job_id = lifecycle.submit(session, train_spec()).job.id
        lifecycle.cancel(session, job_id)
    model_id = model_in(db, job_id)
    locked, go_on = threading.Event(), threading.Event()

    def remove(session: Session) -> str:
        lock_job(session, job_id)
        locked.set()
        go_on.wait(30)
        lifecycle.delete_job(session, job_id)
        return "deleted"

    removing = Actor(db, remove)
    assert locked.wait(30)
    deleting = Actor(db, deletes(model_id))
    assert deleting.settle(), "it waits for the job"
    go_on.set()
    assert (removing.end(), deleting.end()) == ("deleted", "a" * 64)


def test_a_worker_that_is_drained_is_not_forgotten_meanwhile(db: Database) -> None:
    row = {"id": "worker_a", "hostname": "here", "pid": 1, "slots": 1, "device": "cpu", "devices": ["cpu"]}
    row |= {"memory_mb": 1, "offers": [], "info": {}, "stats": {}}
    with db.write(SERVICE) as session:
        recovery.heartbeat(session, row)

    def drain(session: Session) -> str:
        workers.drain(session, workers.find(session, "worker_a", 60_000), Drain.FINISH)
        return "drained"

    forgetting = Actor(db, lambda session: recovery.forget_worker(session, "worker_a"))
    assert not forgetting.settle()
    draining = Actor(db, drain)
    assert draining.settle()
    forgetting.end()
    assert draining.end() == "NotFound"
    with db.read(DEFAULT) as session:
        assert session.execute(select(Worker.id, now_ms())).all() == []
