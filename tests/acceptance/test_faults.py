"""Faults in the middle of a real training: processes killed, the broker gone, the whole service stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adderclient import Client
from tests.acceptance.conftest import Service, running_service
from tests.acceptance.test_one_job import metrics_of
from tests.support.servers import wait_until
from tests.support.shared import Run
from tests.support.specs import train_body

pytestmark = pytest.mark.bits

BODY = train_body(epochs=24, seed=5, resources={"threads": 1}, labels={"part": "faults"})


def sha256_of(client: Client, job_id: str) -> str:
    return next(a.sha256 for a in client.jobs.artifacts(job_id) if a.name == "model.safetensors")


def after_a_checkpoint(client: Client, body: dict[str, Any]) -> str:
    """Submits a job and returns once it has saved its first checkpoint."""
    job = client.jobs.submit(body)
    for event in client.jobs.stream(job.id):
        if event.event is not None and event.event.type == "checkpoint":
            break
    return job.id


@pytest.fixture(scope="module")
def untouched(shared_run: Run) -> tuple[str, dict[tuple[str, int], Any]]:
    """Model and metrics of the same training when nothing happens to it."""

    def train(folder: Path) -> None:
        with running_service(folder / "data") as service, service.client() as client:
            job = client.jobs.submit(BODY)
            client.jobs.wait(job.id, timeout=300)
            metrics = [[*key, value] for key, value in metrics_of(client, job.id).items()]
            (folder / "outcome.json").write_text(json.dumps([sha256_of(client, job.id), metrics]))

    sha256, metrics = json.loads((shared_run.once("untouched", train) / "outcome.json").read_text())
    return sha256, {(name, step): value for name, step, value in metrics}


def check_same(client: Client, job_id: str, untouched: tuple[str, dict[tuple[str, int], Any]]) -> None:
    done = client.jobs.wait(job_id, timeout=300)
    assert done.status == "succeeded"
    assert done.attempt >= 2
    assert (sha256_of(client, job_id), metrics_of(client, job_id)) == untouched


@pytest.mark.long(
    "the service starts and trains twice; tests/worker/test_child.py and test_causes.py have the short form"
)
def test_kill_9_of_the_training(embedded: Service, untouched: Any) -> None:
    with embedded.client() as client:
        job_id = after_a_checkpoint(client, BODY)
        embedded.kill("worker.child")
        check_same(client, job_id, untouched)


@pytest.mark.long(
    "the service starts, trains and goes on; tests/worker/test_drain.py and test_fleet.py have the short form"
)
def test_kill_9_of_the_worker(service: Service, untouched: Any) -> None:
    with service.client() as client:
        job_id = after_a_checkpoint(client, BODY)
        service.kill("-m worker ")
        wait_until(lambda: service.processes("worker.child") == [], "the training to die with its worker")
        check_same(client, job_id, untouched)


@pytest.mark.long(
    "the service starts, trains and goes on; tests/worker/test_drain.py and test_fleet.py have the short form"
)
def test_stop_and_start_of_the_whole_service(tmp_path: Path, untouched: Any) -> None:
    with running_service(tmp_path / "data") as service:
        with service.client() as client:
            job_id = after_a_checkpoint(client, BODY)
            service.stop()
        service.start()
        with service.client() as client:
            check_same(client, job_id, untouched)
            assert any("Handed back" in event.message for event in client.jobs.events(job_id))


@pytest.mark.long("four trainings and three starts of the broker")
def test_the_api_accepts_jobs_while_the_broker_is_down(embedded: Service) -> None:
    with embedded.client() as client:
        for _ in range(3):  # `up` starts it again each time
            embedded.kill("valkey-server")
            job = client.jobs.submit(train_body(epochs=1, resources={"threads": 1}))
            assert job.status == "queued"
        for waiting in client.jobs.iterate():
            assert client.jobs.wait(waiting.id, timeout=300).status == "succeeded"
