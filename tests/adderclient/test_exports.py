"""What is exported, read back with the library that it is for."""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from adderclient import AdderClientError, Client, Job, NotFoundError
from adderclient.exports import mlflow as mlflow_export
from jobs.states import Status
from tests.adderclient.conftest import Adder
from tests.api.attempt import Worker, model_file

SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 3}


@pytest.fixture
def finished(real: Client, worker: Worker) -> Job:
    job = real.jobs.submit(SPEC | {"labels": {"study": "eta | <x>"}})
    claim = worker.claim()
    worker.metrics(claim, 1, 20)
    worker.metrics(claim, 20, 21, "val/accuracy")
    worker.artifact(claim, "summary.json", b"{}")
    worker.publish(claim)
    worker.finish(claim)
    return real.jobs.edit(job.id, name="the | first", notes="# no heading\n<b>see</b> page 3")


def test_tensorboard_reads_every_point_with_its_step_and_time(real: Client, finished: Job, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second replaces the first
        folder = real.jobs.export(finished.id, "tensorboard", tmp_path / "runs")
    assert folder == str(tmp_path / "runs" / finished.id)
    read = EventAccumulator(folder, size_guidance={"scalars": 0})
    read.Reload()
    assert sorted(read.Tags()["scalars"]) == ["train/loss", "val/accuracy"]
    points = [point for point in real.jobs.metrics(finished.id) if point.name == "train/loss"]
    scalars = read.Scalars("train/loss")
    assert [scalar.step for scalar in scalars] == [point.step for point in points] == list(range(1, 21))
    assert points[0].time is not None
    assert scalars[0].wall_time == pytest.approx(points[0].time.timestamp(), abs=1e-3)
    assert scalars[3].value == pytest.approx(0.25)
    assert math.isnan(scalars[9].value), "no number"
    assert b'"lenet5_bn"' in read.Tensors("spec/text_summary")[0].tensor_proto.string_val[0]


@pytest.fixture
def _quiet_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow warns of its own use of SQLAlchemy, and would count how it is used."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.long("MLflow lays out its database, and takes seconds to be imported")
@pytest.mark.usefixtures("_quiet_mlflow")
def test_mlflow_reads_parameters_metrics_tags_and_files(
    real: Client, worker: Worker, finished: Job, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    store = tmp_path / "tracking"
    run_id = real.jobs.export(finished.id, "mlflow", store)
    read = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    run = read.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "the | first")
    assert finished.started_at is not None
    assert run.info.start_time == round(finished.started_at.timestamp() * 1000)
    assert run.data.params["model.arch"] == "lenet5_bn"
    assert run.data.params["optimizer.lr"] == str(finished.spec["optimizer"]["lr"])
    assert run.data.tags["adderworks.job"] == finished.id
    assert run.data.tags["label.study"] == "eta | <x>"
    assert run.data.tags["mlflow.note.content"] == finished.notes
    history = sorted(read.get_metric_history(run_id, "train/loss"), key=lambda metric: metric.step)
    points = [point for point in real.jobs.metrics(finished.id) if point.name == "train/loss"]
    assert [metric.step for metric in history] == [point.step for point in points]
    assert points[4].time is not None
    assert history[4].timestamp == round(points[4].time.timestamp() * 1000)
    assert history[4].value == pytest.approx(0.2)
    assert [file.path for file in read.list_artifacts(run_id)] == ["summary.json"]
    other = real.jobs.submit(SPEC | {"seed": 1})
    worker.finish(worker.claim(), Status.FAILED, {"code": "diverged", "message": "NaN", "log_tail": ""})
    failed = read.get_run(real.jobs.export(other.id, "mlflow", f"sqlite:///{store / 'mlflow.db'}"))
    assert failed.info.status == "FAILED"
    assert failed.info.experiment_id == run.info.experiment_id
    assert failed.info.run_id != real.jobs.export(other.id, "mlflow", store), "one of an earlier export stays"


def test_fields_are_flat_and_have_names_that_mlflow_takes() -> None:
    spec = {"a": {"b": 1, "c": None, "d": {"e|f": [1, 2]}}, "g": [], "h": "x" * 10_000}
    assert dict(mlflow_export.flat(spec)) == {"a.b": "1", "a.d.e_f": "[1, 2]", "h": "x" * 5000}


def test_the_hub_reads_the_model_card(real: Client, finished: Job, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    folder = tmp_path / "model"
    assert real.jobs.export(finished.id, "hf", folder, license="apache-2.0") == str(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == model_file()
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "adderworks"
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("digits", "accuracy", 0.9)
    # One standard error of 0.9 over the 360 images of digits: √(0.9 · 0.1 / 360) = 1.58 %.
    assert "| accuracy on the validation images | 90.00 ± 1.58 % |" in card.text
    assert "| additions / multiplications / XNORs | 833,040 / 0 / 0 |" in card.text
    assert "| energy | 0.75 µJ |" in card.text
    assert "3 epochs" in card.text
    assert finished.id in card.text
    assert "Nobody has said" not in card.text


def test_a_card_of_an_imported_model_says_what_is_not_known(real: Client, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    (tmp_path / "m.safetensors").write_bytes(model_file())
    model = real.models.import_(tmp_path / "m.safetensors")
    real.models.edit(model.id, name="a | b `c` <script>", notes="# [x](javascript:1)\n---\nlicense: mit")
    real.models.set_alias(model.id, "champion")
    folder = Path(real.models.export("champion", tmp_path / "hub"))
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "unknown"
    assert "Nobody has said under which licence" in card.text
    assert "<script>" not in card.text
    assert "[x](" not in card.text
    assert len(re.findall(r"^# ", card.text, re.MULTILINE)) == 1
    with pytest.raises(AdderClientError, match="no format 'mlflow' here: one of hf"):
        real.models.export(model.id, tmp_path, format="mlflow")


def test_what_cannot_be_exported_says_why(real: Client, worker: Worker, tmp_path: Path) -> None:
    job = real.jobs.submit(SPEC)
    with pytest.raises(AdderClientError, match="has no model to export; it is queued"):
        real.jobs.export(job.id, "hf", tmp_path)
    with pytest.raises(AdderClientError, match="no format 'tflite' here: one of tensorboard, mlflow, hf"):
        real.jobs.export(job.id, "tflite", tmp_path)
    with pytest.raises(NotFoundError):
        real.jobs.export("job_1", "hf", tmp_path)


@pytest.mark.parametrize(("format", "module"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_without_its_extra_a_format_says_what_to_install(
    real: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AdderClientError, match=rf"pip install 'adderworks\[{format}\]'"):
        real.jobs.export("job_1", format, tmp_path)


def test_the_command_exports_jobs_and_models(real: Client, finished: Job, adder: Adder, tmp_path: Path) -> None:
    here = ("--url", real.url)
    assert adder("export", finished.id[-8:], "-f", "tensorboard", "-o", "runs", *here).stdout == f"runs/{finished.id}\n"
    assert finished.model_id is not None
    done = adder("export", finished.model_id, "--format", "hf", "--license", "mit", *here)
    assert (done.returncode, done.stdout) == (0, f"{finished.model_id}\n")
    assert 'license: "mit"' in (tmp_path / finished.model_id / "README.md").read_text()
    wrong = adder("export", finished.model_id, "-f", "mlflow", *here)
    assert (wrong.returncode, "--format mlflow is of jobs" in wrong.stderr) == (2, True)
    wrong = adder("export", finished.id, "-f", "tflite", *here)
    assert (wrong.returncode, "one of tensorboard, mlflow, hf" in wrong.stderr) == (2, True)
