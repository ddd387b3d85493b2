"""The job that validates an upload, in its real process: what it leaves, and what becomes of it when it is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from safetensors.numpy import load

from addercore.config.uploads import PREVIEW_NAME
from jobs.access.scope import DEFAULT
from jobs.errors import StoreError
from jobs.repository import datasets, history, lifecycle
from jobs.tables import Dataset
from tests.support.attempts import COMMAND
from tests.support.datasets import add_upload
from tests.support.servers import wait_until
from tests.support.uploads import arrays, folders, npz, zipped
from tests.worker.steps import causes, job_of, log_of, run_in_background
from worker.app import run_available
from worker.context import WorkerContext


@pytest.fixture
def ingesting(lite_context: WorkerContext) -> WorkerContext:
    """A worker whose children are the real ones."""
    lite_context.settings = lite_context.settings.model_copy(update={"child_command": COMMAND})
    return lite_context


def uploaded(context: WorkerContext, data: bytes) -> Dataset:
    with context.database.write(DEFAULT) as session:
        return add_upload(session, context.store, "leaves", data)


def fresh(context: WorkerContext, row: Dataset) -> Dataset:
    with context.database.read(DEFAULT) as session:
        return datasets.get(session, row.id)


def child_of(job_id: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"worker.child" in words and any(job_id.encode() in word for word in words):
            found.append(int(entry.name))
    return found


def wait_for_work(context: WorkerContext, job_id: str) -> None:
    wait_until(lambda: (job_of(context, job_id).progress or {}).get("step", 0) > 0, "the child to read images")


def test_a_good_upload_is_ready_and_dropped(ingesting: WorkerContext) -> None:
    row = uploaded(ingesting, zipped(folders("cat", "dog") | {"README": b"hello"}))
    assert row.job_id is not None
    run_available(ingesting)
    done, job = fresh(ingesting, row), job_of(ingesting, row.job_id)
    assert (done.status, job.status, done.format) == ("ready", "succeeded", "zip")
    assert job.result == {
        "dataset_id": row.id, "train_size": 6, "validation_size": 2, "classes": 2, "input_shape": [1, 8, 8]
    }  # fmt: skip
    assert job.environment is not None
    assert (job.environment["device"], job.environment["backend"]) == ("cpu", None), "it runs no network"
    assert all(job.environment[name] for name in ("torch", "addercore", "threads"))
    assert job.progress is not None
    assert job.progress["fraction"] == 1.0
    assert done.problems is not None
    assert "README" in done.problems[0]
    assert "README" in log_of(ingesting, row.job_id)
    with ingesting.database.read(DEFAULT) as session:
        sheet = history.artifact(session, row.job_id, PREVIEW_NAME)
    with ingesting.store.open(sheet.sha256) as picture:
        assert (sheet.media_type, picture.read(4)) == ("image/png", b"\x89PNG")
    with ingesting.store.open(done.sha256 or "") as file:
        tensors = load(file.read())
    assert {name: tensor.shape[0] for name, tensor in tensors.items()} == {
        "train_images": 6, "train_labels": 6, "validation_images": 2, "validation_labels": 2
    }  # fmt: skip
    assert done.bytes > tensors["train_images"].nbytes


def test_a_bad_upload_names_its_problems(ingesting: WorkerContext) -> None:
    row = uploaded(ingesting, zipped(folders("cat", "dog") | {f"cat/bad{i}.png": b"bad" for i in range(3)}))
    assert row.job_id is not None
    run_available(ingesting)
    done, job = fresh(ingesting, row), job_of(ingesting, row.job_id)
    assert (done.status, job.status) == ("failed", "failed")
    assert job.error is not None
    assert job.error["code"] == "bad_data"
    assert done.problems is not None
    assert [problem.split(" ")[0] for problem in done.problems] == [f"cat/bad{i}.png" for i in range(3)]
    assert "cat/bad2.png" in log_of(ingesting, row.job_id)


def test_killed_and_cancelled(ingesting: WorkerContext) -> None:
    """Killed it begins anew, cancelled it leaves a dataset that says so."""
    row = uploaded(ingesting, npz(**arrays(100_000)))
    assert row.job_id is not None
    thread = run_in_background(ingesting)
    wait_for_work(ingesting, row.job_id)
    for pid in child_of(row.job_id):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: causes(ingesting, row.job_id or "") == ["worker_lost", None], "the next attempt")
    assert fresh(ingesting, row).status == "validating"
    with ingesting.database.write(DEFAULT) as session:
        lifecycle.cancel(session, row.job_id)
    thread.join(300)
    assert causes(ingesting, row.job_id) == ["worker_lost", "cancelled"]
    done = fresh(ingesting, row)
    assert done.status == "failed"
    assert done.problems is not None
    assert done.problems[0].startswith("Cancelled")


def test_an_upload_that_is_gone_fails_with_a_sentence(ingesting: WorkerContext) -> None:
    row = uploaded(ingesting, b"PK\x03\x04")
    assert row.job_id is not None
    (ingesting.settings.artifacts_dir / row.source_sha256[:2] / row.source_sha256).unlink()
    with pytest.raises(StoreError):
        ingesting.store.open(row.source_sha256)
    run_available(ingesting)
    done = fresh(ingesting, row)
    assert done.status == "failed"
    assert done.problems is not None
    assert "missing" in done.problems[0]
