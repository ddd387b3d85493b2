"""Real workers: cancel wherever a job is, and a job that takes its worker down again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.repository import catalog, lifecycle
from jobs.settings import Settings
from jobs.spec import SPEC
from jobs.states import Status
from jobs.store import store_of
from jobs.tables import Attempt
from tests.api.attempt import MANIFEST, model_file
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, Fleet, fleet
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec


@pytest.fixture
def tiny(tmp_path: Path, fresh_postgres_url: str, valkey: Valkey) -> Settings:
    return quick_settings(tmp_path, fresh_postgres_url, valkey.url, child_command=TINY_CHILD, worker_slots=3)


def long(**changes: object) -> dict[str, object]:
    return {"labels": {"seconds": "300", "points": "1000"}, **changes}


def new_model(running: Fleet) -> str:
    stored = store_of(running.settings).put_stream([model_file()])
    with running.database.write() as session:
        model = catalog.new_model(MANIFEST, stored, source="imported", job_id=None, metrics=None)
        catalog.add_model(session, model)
        return model.id


def cancel(running: Fleet, job_id: str) -> Status:
    with running.database.write() as session:
        return Status(lifecycle.cancel(session, job_id).status)


def begun(running: Fleet, job_id: str) -> None:
    wait_until(lambda: (running.job(job_id).progress or {}).get("step", 0) >= 1, f"{job_id} to be under way")


def test_cancel_works_wherever_a_job_is(tiny: Settings) -> None:
    with fleet(tiny, 1) as running:
        evaluation = {"kind": "evaluate", "model_id": new_model(running), "dataset": {"name": "digits"}}
        specs = [
            train_spec(**long()),
            SPEC.validate_python(evaluation | {"labels": {"seconds": "300", "points": "1000"}}),
            train_spec(**long()),
            train_spec(**long(resources={"device": "cuda"})),
        ]
        training, evaluate, paused, queued = running.submit(specs)
        for job_id in (training, evaluate, paused):
            begun(running, job_id)
        with running.database.write() as session:
            lifecycle.pause(session, paused)
        running.wait_status(paused, Status.PAUSED)
        assert cancel(running, paused) is Status.CANCELLED
        assert cancel(running, queued) is Status.CANCELLED
        for job_id in (training, evaluate):
            assert cancel(running, job_id) is Status.CANCELLING
        for job in running.wait_final([training, evaluate], seconds=20):
            assert job.status == Status.CANCELLED
            assert job.faults == 0
        (orphan,) = running.submit([train_spec(**long())])
        begun(running, orphan)
        running.worker_of(orphan).kill()
        assert cancel(running, orphan) is Status.CANCELLING, "its worker is dead, which nobody knows yet"
        running.start(1)
        assert running.wait_final([orphan], seconds=30)[0].status == Status.CANCELLED


def test_a_job_that_kills_its_worker_fails_and_takes_nobody_down_for_good(tiny: Settings) -> None:
    with fleet(tiny, 1) as running:
        poison = train_spec(labels={"do": "poison", "seconds": "0.5"}, limits={"max_attempts": 2})
        others = [train_spec(labels={"do": "checkpoint", "seconds": "2"}) for _ in range(2)]
        ids = running.submit([poison, *others])

        def ended() -> bool:
            if all(worker.poll() is not None for worker in running.workers):
                running.start(1)
            return all(Status(job.status).final for job in running.jobs(ids))

        wait_until(ended, "all jobs to end", seconds=120, every=0.2)
        poisoned, *rest = (running.job(job_id) for job_id in ids)
        assert (poisoned.status, poisoned.faults) == (Status.FAILED, 2)
        assert poisoned.error is not None
        assert "It may be this job that ends its workers" in poisoned.error["message"]
        assert {job.status for job in rest} == {Status.SUCCEEDED}
        with running.database.read() as session:
            last = session.get_one(Attempt, (poisoned.id, 2))
            beside = select(Attempt).where(Attempt.worker_id == last.worker_id, Attempt.job_id != poisoned.id)
            for other in session.execute(beside).scalars():
                assert other.started_at >= last.ended_at or other.ended_at <= last.started_at
