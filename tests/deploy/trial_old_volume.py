"""Part of the compose trial: volumes that an earlier version made, before keys, secrets as files and roles, taken over.

The earlier version is its own compose file with its own image, from the repository's history.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from adderclient.errors import AdderClientError
from tests.deploy.composing import (
    DIGIT,
    JOB_SECONDS,
    ROOT,
    START_SECONDS,
    Compose,
    Trial,
    check,
    compose_command,
    free_port,
    say,
    show,
    spec,
    start,
    tear_down,
    until,
)  # fmt: skip

EARLIER = "c5f82c9"
"""The commit of the earlier version, of which tests/upgrade has objects too."""
OLD_TAG = "trial-old"


class Earlier:
    """The earlier version's compose project, with the `.env` of its own `deploy/new-env`."""

    def __init__(self, checkout: Path, project: str) -> None:
        self.checkout, self.project, self.port = checkout, project, free_port()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", EARLIER], capture_output=True)
        if archive.returncode:
            raise Trial(f"the history of {EARLIER} is needed: {archive.stderr.decode()}")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(checkout, filter="data")
        subprocess.run([str(checkout / "deploy" / "new-env")], check=True, capture_output=True)
        self.environment = os.environ | {"ADDERWORKS_PORT": str(self.port), "ADDERWORKS_TAG": OLD_TAG}

    def __call__(self, *arguments: str) -> None:
        command = [*compose_command(), "-p", self.project, *arguments]
        done = subprocess.run(command, cwd=self.checkout, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise Trial(f"compose {' '.join(arguments)} of {EARLIER} failed:\n{done.stdout}{done.stderr}")


def old_volume_taken_over(folder: Path, project: str) -> int:
    """Runs a job by the earlier version, takes its volumes over, and finds all of it. Returns the exit status."""
    checkout = folder / "checkout"
    checkout.mkdir(parents=True)
    earlier = Earlier(checkout, project)
    compose: Compose | None = None
    try:
        then = made_by(earlier)
        upgrade(checkout)
        compose = Compose(checkout, project, {"ADDERWORKS_EDGE_SUBNET": "10.213.78.0/28"})
        compose("build")
        start(compose)
        found(compose, then)
    except (Trial, AdderClientError, httpx2.HTTPError) as error:
        say(f"FAILED: {error}")
        if compose is None:
            earlier("down", "--volumes", "--remove-orphans")
        else:
            show(compose)
            tear_down(compose, keep=False)
        return 1
    return tear_down(compose, keep=False)


def made_by(earlier: Earlier) -> dict[str, Any]:
    """What the earlier version has after one training: its job, artifacts and a prediction."""
    say(f"building and starting {EARLIER}, without keys, secrets and roles")
    earlier("build")
    earlier("up", "--detach")
    with httpx2.Client(base_url=f"http://127.0.0.1:{earlier.port}/v1", timeout=60) as api:

        def ready() -> bool:
            try:
                return api.get("../readyz").status_code == 200
            except httpx2.TransportError:
                return False

        until(ready, f"{EARLIER} is ready", START_SECONDS)
        id_ = api.post("/jobs", json=spec(2)).raise_for_status().json()["id"]

        def ended() -> dict[str, Any] | None:
            now: dict[str, Any] = api.get(f"/jobs/{id_}").raise_for_status().json()
            return now if now["status"] in ("succeeded", "failed") else None

        job = until(ended, "its job has ended", JOB_SECONDS)
        check(job["status"] == "succeeded", f"the job of {EARLIER}: {job}")
        artifacts = api.get(f"/jobs/{id_}/artifacts").raise_for_status().json()["data"]
        answer = api.post(f"/models/{job['model_id']}/predict", json={"array": DIGIT}).raise_for_status().json()
    earlier("down")
    say(f"{EARLIER} trained {id_} and has left its volumes; revision and files are its own")
    return {"job": job, "files": {one["name"]: one["sha256"] for one in artifacts}, "answer": answer}


def upgrade(checkout: Path) -> None:
    """`git pull` and `deploy/upgrade-secrets`."""
    shutil.rmtree(checkout / "deploy")
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    done = subprocess.run([str(checkout / "deploy" / "upgrade-secrets")], capture_output=True, text=True)
    check(done.returncode == 0, f"deploy/upgrade-secrets: {done.stderr}")


def found(compose: Compose, then: dict[str, Any]) -> None:
    """Everything of the earlier version is in the project `default`, and works."""
    id_, model = then["job"]["id"], then["job"]["model_id"]
    refused = httpx2.get(f"{compose.url}/v1/jobs/{id_}")
    check(refused.status_code == 401, f"an old job without a key: {refused.status_code}")
    with compose.client() as client:
        check(client.me().project == "default", f"the operator's project is {client.me().project}")
        job = client.jobs.get(id_)
        check((job.status, dict(job.result)) == ("succeeded", then["job"]["result"]), f"the old job is {job}")
        files = {one.name: one.sha256 for one in client.jobs.artifacts(id_)}
        check(files == then["files"], f"its artifacts are {files}, and were {then['files']}")
        client.jobs.download(id_, "model.safetensors", compose.folder / "model.safetensors")
        answer = client.models.predict(model, DIGIT)
        check(scores(answer) == scores(then["answer"]), f"it predicts {answer}, and predicted {then['answer']}")
        other = client.projects.make("vision")
        key = client.keys.make("a stranger", project=other.id).key
        strange = httpx2.get(f"{compose.url}/v1/jobs/{id_}", headers={"Authorization": f"Bearer {key}"})
        check(strange.status_code == 404, f"an old job with a key of another project: {strange.status_code}")
        new = client.jobs.wait(client.jobs.submit(spec(1)).id, JOB_SECONDS)
        check(new.status == "succeeded", f"a job after the upgrade: {new}")
    say(f"volumes of {EARLIER} taken over: {id_} in project default, its model predicts as before, jobs go on")


def scores(answer: Mapping[str, Any]) -> tuple[Any, Any]:
    """What both versions say of an image; the newer one has notes too."""
    return answer["label"], answer["probabilities"]
