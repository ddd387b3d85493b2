"""Real workers: cancel works wherever a job is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.access.scope import DEFAULT
from jobs.repository import lifecycle, models
from jobs.settings import Settings
from jobs.spec import SPEC
from jobs.states import Status
from jobs.store import store_of
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
    with running.database.write(DEFAULT) as session:
        model = models.new_model(MANIFEST, stored, source="imported", job_id=None, metrics=None)
        models.add_model(session, model)
        return model.id


def cancel(running: Fleet, job_id: str) -> Status:
    with running.database.write(DEFAULT) as session:
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
        with running.database.write(DEFAULT) as session:
            lifecycle.pause(session, paused)
        running.wait_status(paused, Status.PAUSED)
        assert cancel(running, paused) is Status.CANCELLED
        assert cancel(running, queued) is Status.CANCELLED
        for job_id in (training, evaluate):
            assert cancel(running, job_id) is Status.CANCELLING
        for job in running.wait_final([training, evaluate], seconds=300):
            assert job.status == Status.CANCELLED
            assert job.faults == 0
        (orphan,) = running.submit([train_spec(**long())])
        begun(running, orphan)
        running.worker_of(orphan).kill()
        assert cancel(running, orphan) is Status.CANCELLING, "its worker is dead, which nobody knows yet"
        running.start(1)
        assert running.wait_final([orphan], seconds=300)[0].status == Status.CANCELLED
