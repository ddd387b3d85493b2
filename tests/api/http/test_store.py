"""Artifacts in a real S3 server: files over HTTP, checkpoints of a worker, the server gone. A folder that is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.s3 import S3Server
from jobs.access.scope import SERVICE
from jobs.repository import attempts, history
from jobs.settings import Settings
from jobs.states import Status
from jobs.store import store_of
from tests.api.attempt import model_file
from tests.api.conftest import running
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, fleet
from tests.support.servers import Valkey
from tests.support.specs import train_spec


@pytest.fixture
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def settings(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    changes = {"artifacts_url": s3_server.bucket(), "store_retry_seconds": 0.3, "child_command": TINY_CHILD}
    return quick_settings(tmp_path, sqlite_url, valkey.url, **changes)


def test_files_come_from_the_bucket_and_its_absence_is_a_503(settings: Settings, s3_server: S3Server) -> None:
    content = model_file()
    with running(settings) as site, site.client() as api:
        model = api.post("/v1/models", files={"weights": content}).json()
        again = api.post("/v1/models", files={"weights": content})
        assert (again.status_code, again.json()["id"]) == (200, model["id"])
        path = f"/v1/models/{model['id']}/download"
        assert api.get(path).content == content
        part = api.get(path, headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, content[1000:2000])
        assert api.head(path).headers["content-length"] == str(len(content))
        s3_server.close()
        for answer in (
            api.get(path),
            api.get(path, headers={"Range": "bytes=0-0"}),
            api.post("/v1/models", files={"weights": model_file(fill=b"\x01")}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert "127.0.0.1" not in answer.text
        assert [item["id"] for item in api.get("/v1/models").json()["data"]] == [model["id"]]
        assert api.delete(f"/v1/models/{model['id']}").status_code == 204
    assert list((settings.data_dir / "incoming").iterdir()) == []


def test_a_full_folder_is_a_507_and_leaves_the_rest_alone(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url)
    settings.artifacts_dir.mkdir()
    size = len(model_file()) + 65536  # room for one model, not for two
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(settings.artifacts_dir)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        with running(settings) as site, site.client() as api:
            first = api.post("/v1/models", files={"weights": model_file()})
            assert first.status_code == 201
            full = api.post("/v1/models", files={"weights": model_file(fill=b"\x01")})
            assert (full.status_code, full.json()["code"]) == (507, "store_full")
            assert str(tmp_path) not in full.text
            assert api.get(f"/v1/models/{first.json()['id']}/download").content == model_file()
            assert list((settings.artifacts_dir / "incoming").iterdir()) == []
            subprocess.run(["mount", "-o", "remount,size=64m", str(settings.artifacts_dir)], check=True)
            assert api.post("/v1/models", files={"weights": model_file(fill=b"\x01")}).status_code == 201
    finally:
        subprocess.run(["umount", str(settings.artifacts_dir)], check=True)


def test_a_worker_goes_on_from_a_checkpoint_in_the_bucket(settings: Settings, tmp_path: Path) -> None:
    with fleet(settings) as workers:
        (job_id,) = workers.submit([train_spec(labels={"points": "4", "do": "suicide"}, limits={"max_attempts": 2})])
        ended = workers.wait_status(job_id, Status.FAILED)
        assert (ended.attempt, (ended.error or {})["code"]) == (2, "worker_lost")
        with workers.database.read(SERVICE) as session:
            saved = attempts.checkpoints(session, job_id)
            lost = [event for event in history.events(session, job_id) if event.type == "checkpoint_lost"]
            log = history.artifact(session, job_id, "log.txt")
        assert lost == []
        store = store_of(settings)
        store.fetch(saved[0][1].sha256, tmp_path / "checkpoint")
        assert (tmp_path / "checkpoint").read_text() == "step 4"
        with store.open(log.sha256) as file:
            assert b"tiny child" in file.read()
