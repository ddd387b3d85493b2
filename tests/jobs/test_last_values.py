"""What is called the last is the last, in a job of more rows than one page of them holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import history
from jobs.settings import Settings
from jobs.states import TrialStatus
from jobs.store import store_of
from jobs.tables import Event, Job, Metric
from tests.api.attempt import TIME, Worker
from tests.jobs.sweeping import create, drive, finish, trials

MANY = 10_050
"""More than the 10,000 rows that `history.metrics` and `history.events` read at a time."""


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    return Worker(database, store_of(Settings(data_dir=tmp_path)))


def long_history(database: Database, job_id: str) -> None:
    """`val/accuracy` rises by a millionth a step; after its last number comes one point that is none."""
    point = {"job_id": job_id, "name": "val/accuracy", "epoch": 0, "time": TIME}
    rows = [point | {"seq": 100 + at, "step": at, "value": at / 1e6} for at in range(MANY)]
    rows.append(rows[-1] | {"seq": 100 + MANY, "step": MANY, "value": None})
    said = [
        {"job_id": job_id, "seq": 200_000 + at, "time": TIME, "type": "note", "message": str(at), "data": None}
        for at in range(MANY)
    ]
    with database.write(DEFAULT) as session:
        session.execute(insert(Metric), rows)
        session.execute(insert(Event), said)
        session.execute(update(Job).where(Job.id == job_id).values(last_seq=300_000))


def test_a_sweep_takes_the_last_value_of_its_objective(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0]})
    drive(database, sweep)
    claim = worker.claim()
    long_history(database, claim.job_id)
    finish(worker, claim, None)
    drive(database, sweep)
    (trial,) = trials(database, sweep)
    assert (trial.status, trial.value) == (TrialStatus.SUCCEEDED, pytest.approx((MANY - 1) / 1e6))


def test_the_last_value_and_the_latest_events_of_a_job(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0]})
    drive(database, sweep)
    claim = worker.claim()
    with database.read(DEFAULT) as session:
        assert history.last_value(session, claim.job_id, "val/accuracy") is None
    long_history(database, claim.job_id)
    with database.read(DEFAULT) as session:
        assert history.last_value(session, claim.job_id, "val/accuracy") == (MANY - 1) / 1e6
        assert history.last_value(session, claim.job_id, "val/loss") is None
        assert [e.message for e in history.latest_events(session, claim.job_id, 2)] == [str(MANY - 1), str(MANY - 2)]
