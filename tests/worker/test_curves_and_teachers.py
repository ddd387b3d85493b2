"""What a failed training leaves, and a training that learns or starts from a stored model: the real child."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from addercore.arch import network
from addercore.config import TrainConfig
from addercore.io import encode, manifest_of
from addercore.networks import build
from jobs.access.scope import DEFAULT
from jobs.errors import StoreError
from jobs.repository import attempts, history, lifecycle, models
from jobs.repository.attempts import Stored
from jobs.states import FailureCode, Status
from jobs.tables import Artifact, Model
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_spec
from tests.worker.steps import job_of, submit
from worker.app import run_available
from worker.context import WorkerContext
from worker.template.client import Template

pytestmark = pytest.mark.bits


@pytest.fixture
def real_context(tmp_path: Path, sqlite_url: str, valkey: Valkey, template: Template) -> Iterator[WorkerContext]:
    """On SQLite, with the child that trains."""
    context = WorkerContext.create(quick_settings(tmp_path, sqlite_url, valkey.url))
    context.template = template
    yield context
    context.app.close()
    context.database.dispose()


def artifacts_of(context: WorkerContext, job_id: str) -> dict[str, Artifact]:
    with context.database.read(DEFAULT) as session:
        return {artifact.name: artifact for artifact in history.artifacts(session, job_id)}


def test_a_training_that_diverges_keeps_its_curves(real_context: WorkerContext) -> None:
    context = real_context
    job_id = submit(
        context,
        model={"method": "conv"},
        optimizer={"lr": 1e30, "schedule": "constant"},
        epochs=3,
        metrics_every_steps=1,
        resources={"device": "cpu"},
    )
    run_available(context)
    job = job_of(context, job_id)
    assert (job.status, job.model_id, job.result) == (Status.FAILED, None, None)
    assert job.error is not None
    assert job.error["code"] == FailureCode.DIVERGED
    assert "optimizer.lr" in job.error["message"]
    kept = artifacts_of(context, job_id)
    assert {name: artifact.kind for name, artifact in kept.items()} == {
        "curves.png": "curves",
        "log.txt": "log",
        "metrics.csv": "metrics",
        "summary.json": "summary",
    }
    files = {name: context.store.path(artifact.sha256) for name, artifact in kept.items()}
    with context.database.read(DEFAULT) as session:
        rows = [(point.name, point.step, point.value) for point in history.metrics(session, job_id)]
    assert {name for name, *_ in rows} >= {"train/loss", "lr"}
    with files["metrics.csv"].open(newline="") as file:
        assert [(row["name"], int(row["step"]), float(row["value"])) for row in csv.DictReader(file)] == rows
    assert json.loads(files["summary.json"].read_text())["failed"] == job.error["message"]
    assert files["curves.png"].read_bytes().startswith(b"\x89PNG")
    assert not (context.settings.work_dir / job_id).exists()


def test_a_file_that_cannot_be_stored_hides_neither_the_others_nor_the_failure(
    lite_context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = lite_context.store.put_file

    def not_all(file: BinaryIO) -> Stored:
        if os.readlink(f"/proc/self/fd/{file.fileno()}").endswith("/curves.png"):
            raise StoreError("it is refused")
        return put(file)

    monkeypatch.setattr(lite_context.store, "put_file", not_all)
    job_id = submit(lite_context, {"do": "fail"})
    run_available(lite_context)
    error = job_of(lite_context, job_id).error
    assert error is not None
    assert error["code"] == FailureCode.DIVERGED
    assert set(artifacts_of(lite_context, job_id)) == {"log.txt", "metrics.csv"}


def imported(context: WorkerContext, folder: Path, classes: tuple[str, ...] | None = None) -> Model:
    """A stored model of digits, or of these classes."""
    config = TrainConfig.from_dict({"model": {"arch": "lenet5_bn", "method": "conv"}, "dataset": {"name": "digits"}})
    manifest = manifest_of(config, {}) | ({} if classes is None else {"classes": list(classes)})
    net = network("lenet5_bn", config.network().input_shape, len(manifest["classes"]))
    path = folder / "twin.safetensors"
    path.write_bytes(encode(build(net, "conv", "conv", seed=1).state_dict(), manifest))
    stored = context.store.put(path)
    with context.database.write(DEFAULT) as session:
        model = models.new_model(manifest, stored, source="imported", job_id=None, metrics=None)
        models.add_model(session, model)
    return model


def test_a_training_that_starts_from_other_classes_says_which_layers_are_new(
    real_context: WorkerContext, tmp_path: Path
) -> None:
    start = imported(real_context, tmp_path, ("even", "odd"))
    job_id = submit(real_context, epochs=1, batch_size=718, init_from=start.id)
    run_available(real_context)
    job = job_of(real_context, job_id)
    assert job.status == Status.SUCCEEDED, job.error
    assert job.result is not None
    assert job.result["initialised"]["new"] == ["fc2", "bn5"]
    assert job.result["initialised"]["taken"][0] == "conv1"


def test_a_finished_training_goes_on_and_fails_rather_than_begin_anew(real_context: WorkerContext) -> None:
    context = real_context
    first = submit(context, epochs=1, batch_size=718)
    run_available(context)
    with context.database.write(DEFAULT) as session:
        spec = train_spec(epochs=2, batch_size=718)
        more = lifecycle.continue_training(session, first, spec).job.id
    run_available(context)
    job = job_of(context, more)
    assert (job.status, job.continued_from) == (Status.SUCCEEDED, first), job.error
    with context.database.read(DEFAULT) as session:
        said = [event.message for event in history.latest_events(session, more, 50)]
        own, start = attempts.resume_points(session, more)
    assert any(f"Goes on from step 2 of {first}" in message for message in said)
    assert "goes on from step 2 (epoch 1) of another run" in said
    assert start is not None
    assert {step for step, _ in own} <= {2, 4}

    with context.database.write(DEFAULT) as session:
        lost = lifecycle.continue_training(session, more, spec).job.id
        _, start = attempts.resume_points(session, lost)
    assert start is not None
    path = context.store.path(start.sha256)
    path.chmod(0o600)
    path.write_bytes(b"torn")
    run_available(context)
    job = job_of(context, lost)
    assert (job.status, job.model_id) == (Status.FAILED, None)


def test_a_training_learns_from_a_stored_model(real_context: WorkerContext, tmp_path: Path) -> None:
    context = real_context
    teacher = imported(context, tmp_path)
    job_id = submit(
        context, epochs=1, batch_size=718, metrics_every_steps=1, distill={"teacher": teacher.id, "temperature": 3.0}
    )
    run_available(context)
    job = job_of(context, job_id)
    assert job.status == Status.SUCCEEDED, job.error
    with context.database.read(DEFAULT) as session:
        trained = models.get_model(session, job.model_id or "").manifest
        losses = history.metrics(session, job_id, names=["train/distill_loss"])
    assert trained["config"]["distill"] == {
        "kind": "plain", "teacher": teacher.id, "temperature": 3.0, "weight": 0.5, "features": 1.0,
    }  # fmt: skip
    assert trained["teacher"] == {"id": teacher.id, "sha256": teacher.sha256, "arch": "lenet5_bn", "method": "conv"}
    assert [point.step for point in losses] == [1, 2]
