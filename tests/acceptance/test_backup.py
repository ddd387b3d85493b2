"""`adder backup` of a service at work, `adder restore` elsewhere, and a service on the copy that goes on from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adderclient import Client
from tests.acceptance.conftest import running_service
from tests.acceptance.test_one_job import metrics_of
from tests.support.specs import train_body

BODY = train_body(epochs=30, seed=5, resources={"threads": 1})


def adder(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("adder")), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def files_of(client: Client, job_id: str) -> dict[str, str]:
    return {artifact.name: artifact.sha256 for artifact in client.jobs.artifacts(job_id)}


def until_a_checkpoint(client: Client, body: dict[str, Any]) -> str:
    job = client.jobs.submit(body)
    for event in client.jobs.stream(job.id):
        if event.event is not None and event.event.type == "checkpoint":
            break
    return job.id


@pytest.mark.long("two services and four trainings; tests/jobs/test_backup.py has the short form")
def test_a_restored_backup_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with running_service(tmp_path / "data") as service, service.client() as client:
        ended = client.jobs.submit(train_body(epochs=1, seed=1, resources={"threads": 1})).id
        client.jobs.wait(ended, timeout=300)
        running = until_a_checkpoint(client, BODY)
        queued = client.jobs.submit(BODY).id
        adder("backup", str(copy), "--data", str(service.data))
        client.jobs.cancel(queued)
        client.jobs.wait(running, timeout=300)
        untouched = {id: (files_of(client, id)["model.safetensors"], metrics_of(client, id)) for id in (ended, running)}
    adder("restore", str(copy), "--data", str(tmp_path / "elsewhere"))
    with running_service(tmp_path / "elsewhere") as service, service.client() as client:
        client.jobs.cancel(queued)  # which was not cancelled when the copy was made
        for id, attempts in ((ended, 1), (running, 2)):
            done = client.jobs.wait(id, timeout=300)
            assert (done.status, done.attempt) == ("succeeded", attempts)
            assert (files_of(client, id)["model.safetensors"], metrics_of(client, id)) == untouched[id]
            client.jobs.download(id, "model.safetensors", tmp_path / id)  # which compares checksums
