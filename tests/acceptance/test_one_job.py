"""One job's whole way through real processes: submit, train, watch, download, import, evaluate, predict."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

import addercore
from adderclient import ApiError, Client
from addercore import Callbacks, MetricPoint, TrainConfig
from addercore.ops.registry import select
from tests.acceptance.conftest import Service
from tests.support.servers import wait_until
from tests.support.specs import train_body

pytestmark = pytest.mark.bits

ARTIFACTS = {"model.safetensors", "model.json", "metrics.csv", "summary.json", "curves.png", "log.txt"}
BODY = train_body(epochs=2, seed=3, resources={"threads": 1}, checkpoint={"every_seconds": None})
DETERMINISTIC = ("train/", "val/", "lr", "grad_norm/", "local_lr/")


class Recorder(Callbacks):
    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}

    def on_metrics(self, points: list[MetricPoint]) -> None:
        self.points |= {(p.name, p.step): p.value for p in points if p.name.startswith(DETERMINISTIC)}


def fit_by_hand(folder: Path) -> tuple[bytes, dict[tuple[str, int], float]]:
    recorder = Recorder()
    folder.mkdir()
    addercore.fit(TrainConfig.from_dict(BODY), workdir=folder, threads=1, callbacks=recorder)
    return (folder / "model.safetensors").read_bytes(), recorder.points


def metrics_of(client: Client, job_id: str) -> dict[tuple[str, int], Any]:
    return {(p.name, p.step): p.value for p in client.jobs.metrics(job_id) if p.name.startswith(DETERMINISTIC)}


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.long("the same on the other database"))],
    indirect=True,
)
def test_one_jobs_whole_way(service: Service, tmp_path: Path) -> None:
    with service.client() as client:
        job = client.jobs.submit(BODY)
        streamed = list(client.jobs.stream(job.id))
        done = client.jobs.wait(job.id, timeout=300)
        assert done.status == "succeeded"
        assert streamed[-1].status == "succeeded"
        assert done.environment is not None
        default = select(torch.device("cpu"), torch.float32).backend.name
        assert (done.environment["backend"], done.environment["threads"]) == (default, 1)
        assert {a.name for a in client.jobs.artifacts(job.id)} == ARTIFACTS

        # The same numbers, and the same bytes, as the library called by hand.
        model_bytes, points = fit_by_hand(tmp_path / "by-hand")
        assert metrics_of(client, job.id) == points
        path = client.jobs.download(job.id, "model.safetensors", tmp_path / "download")
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(model_bytes).digest()

        imported = client.models.import_(path)
        evaluation = client.jobs.submit({"kind": "evaluate", "model_id": imported.id, "dataset": {"name": "digits"}})
        result = client.jobs.wait(evaluation.id, timeout=300).result
        assert result is not None
        assert done.result is not None
        assert done.result["counts"]["operations"]["add"] == 833_040  # LeNet-5-BN of adders, for one image
        assert result["accuracy"] == done.result["val/accuracy"]
        assert sum(map(sum, result["confusion_matrix"])) == 360

        image = tmp_path / "digit.png"
        addercore.sample_image("digits", 0).save(image)
        by_service = client.models.predict(imported.id, image)
        by_hand = addercore.load(path).predict(image)
        assert by_service["label"] == by_hand.label
        client.jobs.delete(job.id)
        assert client.models.get(imported.id).id == imported.id
        assert client.models.download(imported.id, tmp_path / "again").read_bytes() == model_bytes


@pytest.mark.long("the service starts and trains twice; tests/api/jobs/test_jobs.py has the short form")
def test_retry_goes_on_from_the_last_checkpoint(embedded: Service) -> None:
    with embedded.client() as client:
        job = client.jobs.submit(train_body(epochs=500, resources={"threads": 1}))
        for event in client.jobs.stream(job.id):
            if event.event is not None and event.event.type == "checkpoint":
                break
        client.jobs.cancel(job.id)
        cancelled = client.jobs.wait(job.id, timeout=300, check=False)
        assert cancelled.status == "cancelled"
        # A cancelled job waits for no file: what was not stored by then, the garbage collection stores.
        wait_until(lambda: "log.txt" in {a.name for a in client.jobs.artifacts(job.id)}, "the log's artifact")
        again = client.jobs.retry(job.id, from_="checkpoint")
        assert again.retry_of == job.id
        for event in client.jobs.stream(again.id):
            if event.event is not None and event.event.type == "resumed":
                break
        else:
            raise AssertionError("the retry did not resume")
        client.jobs.cancel(again.id)
        client.jobs.wait(again.id, timeout=300, check=False)


@pytest.mark.long("the whole service starts for it; tests/api/jobs/test_jobs.py has the short form")
def test_a_missing_dataset_says_where_to_put_it(embedded: Service) -> None:
    with embedded.client() as client:
        body = train_body(dataset={"name": "mnist"})
        assert client.jobs.validate(body).model["operations"] == {"add": 833_040, "mul": 0, "xnor": 0}
        with pytest.raises(ApiError, match="mnist") as refused:
            client.jobs.submit(body)
        assert refused.value.status == 422
        assert list(client.jobs.iterate()) == []
