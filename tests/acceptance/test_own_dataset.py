"""A user's own dataset through real processes: uploaded, validated, trained on, evaluated, asked, deleted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from adderclient import ApiError
from tests.acceptance.conftest import Service
from tests.support.specs import train_body
from tests.support.uploads import arrays, npz, written

pytestmark = pytest.mark.bits


def adder(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("adder")), *words, "--url", service.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.long("two starts of the service and a training; tests/worker/test_ingest.py has the short form")
def test_a_users_dataset_from_upload_to_delete(embedded: Service, tmp_path: Path) -> None:
    given = arrays(120, classes=3, size=12)
    file = written(tmp_path, npz(**given, classes=["low", "mid", "high"]), "shades.npz")
    with embedded.client() as client:
        uploaded = adder(embedded, "datasets", "upload", str(file), "--name", "shades", "--size", "32", "--watch")
        assert uploaded.returncode == 0, uploaded.stderr
        id_ = uploaded.stdout.strip()
        dataset = client.datasets.get("shades")
        assert (dataset.id, dataset.status, dataset.classes) == (id_, "ready", ("low", "mid", "high"))
        assert "shades@1" in adder(embedded, "datasets").stdout
        assert "shades@1" in adder(embedded, "datasets", "show", "shades").stdout
        assert client.datasets.upload(file, "shades", size=(32, 32)).id == id_

        body = train_body(dataset={"name": "shades"}, epochs=6, batch_size=16, resources={"threads": 1})
        job = client.jobs.submit(body)
        with pytest.raises(ApiError, match=job.id) as refused:
            client.datasets.delete("shades")
        assert refused.value.status == 409
        done = client.jobs.wait(job.id, timeout=300)
        assert done.spec["dataset"]["name"] == id_
        assert done.result is not None
        assert done.result["val/accuracy"] > 0.6

        embedded.stop()
        embedded.start()
    with embedded.client() as client:
        assert done.model_id is not None
        evaluation = client.jobs.submit(
            {"kind": "evaluate", "model_id": done.model_id, "dataset": {"name": "shades"}, "split": "train"}
        )
        result = client.jobs.wait(evaluation.id, timeout=300).result
        assert result is not None
        assert sum(map(sum, result["confusion_matrix"])) == dataset.train_size
        Image.fromarray(given["images"][2]).save(tmp_path / "high.png")
        assert client.models.predict(done.model_id, tmp_path / "high.png")["label"] in ("low", "mid", "high")

        bad = written(tmp_path, npz(**arrays(classes=1)), "bad.npz")
        failed = adder(embedded, "datasets", "upload", str(bad), "--name", "bad", "--watch")
        assert (failed.returncode, "one class only" in failed.stderr) == (1, True)
        client.datasets.delete("shades")
        with pytest.raises(ApiError) as gone:
            client.jobs.submit(body)
        assert "is no dataset" in str(gone.value)
        assert client.models.get(done.model_id).dataset == id_
