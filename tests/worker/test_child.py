"""The real training process: failures that only it can meet."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from addercore.config import TrainConfig
from addercore.errors import LoaderLost
from addercore.io import encode, manifest_of
from addercore.networks import build
from addercore.train.checkpoint import is_whole
from benchmarks.cpu import children
from jobs.access.scope import DEFAULT
from jobs.repository import lifecycle
from jobs.spec import SPEC
from jobs.states import FailureCode, Status
from tests.conftest import quick_settings
from tests.support.attempts import Attempts
from tests.support.servers import Valkey
from tests.support.specs import train_spec
from worker import protocol
from worker.app import run_available
from worker.child import ending
from worker.context import WorkerContext
from worker.process import ChildProcess
from worker.template.client import Template

pytestmark = pytest.mark.bits


def test_a_training_beyond_its_memory_says_so(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, template: Template
) -> None:
    context = WorkerContext.create(quick_settings(tmp_path, sqlite_url, valkey.url))
    context.template = template
    with context.database.write(DEFAULT) as session:
        job_id = lifecycle.submit(session, train_spec(epochs=1, resources={"memory_gb": 0.3})).job.id
    run_available(context)
    with context.database.read(DEFAULT) as session:
        job = lifecycle.get(session, job_id)
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == FailureCode.OUT_OF_MEMORY
    assert "memory_gb" in job.error["message"]
    context.app.close()
    context.database.dispose()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), FailureCode.OUT_OF_MEMORY, "raise resources.memory_gb"),
        (OSError(12, "Cannot allocate memory"), FailureCode.OUT_OF_MEMORY, "raise resources.memory_gb"),
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB."), FailureCode.OUT_OF_MEMORY, "The GPU ran out"),
        (RuntimeError("CUDA error: out of memory"), FailureCode.OUT_OF_MEMORY, "The GPU ran out"),
        (LoaderLost("data-loader process 7 was ended by signal 9"), FailureCode.WORKER_LOST, "process 7"),
        (OSError(5, "Input/output error"), FailureCode.WORKER_LOST, "disk fails"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FailureCode.CODE_ERROR, "RuntimeError: mat1"),
    ],
)
def test_the_code_of_an_exception(error: Exception, code: FailureCode, says: str, tmp_path: Path) -> None:
    end = ending(error, tmp_path)
    assert isinstance(end, protocol.Failed)
    assert end.code == code
    assert says in end.message


@pytest.mark.parametrize(
    "says",
    ["<function _find_and_load> returned NULL without setting an exception", "error return without exception set"],
)
def test_a_silent_failure_in_limited_memory_is_for_want_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    error = SystemError(says)
    limit = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    assert getattr(ending(error, tmp_path), "code", None) == FailureCode.CODE_ERROR
    limit = 2**28
    assert getattr(ending(error, tmp_path), "code", None) == FailureCode.OUT_OF_MEMORY


SOON = train_spec(
    epochs=3,
    batch_size=256,
    checkpoint={"every_epochs": None, "every_seconds": 0.01, "keep": 3},
    metrics_every_steps=1,
    resources={"device": "cpu"},
)


@pytest.mark.long("five starts of a training")
def test_torn_checkpoints_are_passed_over(tmp_path: Path, template: Template) -> None:
    job = Attempts(tmp_path, SOON, template=template)

    def pause(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved) and len(job.heard(protocol.CheckpointSaved)) == 3:
            child.terminate()

    assert job.run(pause) == 0
    assert isinstance(job.said[-1], protocol.Stopped)
    *_, whole, flipped, cut = job.checkpoints()
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 4
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-1000])
    assert job.run() == 0
    lost = [note.message for note in job.heard(protocol.Note) if note.event == "checkpoint_lost"]
    assert [f"{path.name} is damaged" in message for path, message in zip((cut, flipped), lost, strict=True)] == [
        True
    ] * 2
    assert f"resumed from {whole.name}" in job.notes()["resumed"]
    assert isinstance(job.said[-1], protocol.Done)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.long("trainings on a file system of its own; tests/worker/test_stores_away.py has the short form")
def test_a_full_disk_is_said_and_leaves_the_last_checkpoint(
    tmp_path: Path, small_disk: Path, template: Template
) -> None:
    job = Attempts(tmp_path / "job", SOON, disk=small_disk, template=template)
    ballast = small_disk / "ballast"

    def fill(child: ChildProcess, message: protocol.Message) -> None:
        if len(job.heard(protocol.CheckpointSaved)) == 2 and not ballast.exists():
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(64 * 1024))
                except OSError:
                    return

    assert job.run(fill) == 0
    end = job.said[-1]
    assert isinstance(end, protocol.Stopped)
    assert end.reason == "disk_full"
    assert f"{job.workdir} has 0.0 MiB left" in end.message
    left = list((job.workdir / "checkpoints").iterdir())
    assert left
    assert all(map(is_whole, left)), [path.name for path in left]
    ballast.unlink()
    assert job.run() == 0
    assert "resumed" in job.notes()
    assert isinstance(job.said[-1], protocol.Done)


def test_a_killed_loader_is_no_fault_of_the_job(tmp_path: Path, template: Template) -> None:
    changes = {"resources": {"device": "cpu", "loader_workers": 2}, "epochs": 20}
    job = Attempts(tmp_path, SPEC.validate_python({**SOON.model_dump(mode="json"), **changes}), template=template)

    def kill_one(child: ChildProcess, message: protocol.Message) -> None:
        if isinstance(message, protocol.CheckpointSaved) and len(job.heard(protocol.CheckpointSaved)) == 2:
            os.kill(children(child.pid)[0], signal.SIGKILL)

    assert job.run(kill_one) == 1
    end = job.said[-1]
    assert isinstance(end, protocol.Failed)
    assert end.code is FailureCode.WORKER_LOST
    assert "was ended by signal 9" in end.message


def test_an_evaluation_can_be_stopped(tmp_path: Path, template: Template) -> None:
    config = TrainConfig.default("lenet5_bn", "digits")
    model = tmp_path / "model.safetensors"
    model.write_bytes(encode(build(config.network(), seed=0).state_dict(), manifest_of(config, {})))
    spec = {"kind": "evaluate", "model_id": "model_1", "dataset": {"name": "digits"}, "split": "train", "batch_size": 1}
    job = Attempts(
        tmp_path / "job", SPEC.validate_python({**spec, "resources": {"device": "cpu"}}), model=model, template=template
    )

    def stop(child: ChildProcess, message: protocol.Message) -> None:
        if len(job.said) == 1:
            child.terminate()

    assert job.run(stop) == 0
    assert isinstance(job.said[-1], protocol.Stopped)
    assert len(job.heard(protocol.Progress)) < 1437
    (said,) = job.heard(protocol.Environment)
    assert {"device": "cpu", "threads": 1}.items() <= said.environment.items()
    assert all(said.environment[name] for name in ("backend", "torch", "addercore", "cpu_capability"))
