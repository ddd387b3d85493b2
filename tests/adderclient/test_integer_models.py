"""The client and the command with a model of integers."""

from __future__ import annotations

from pathlib import Path

import pytest

from adderclient import Client, ConflictError
from jobs.access.scope import DEFAULT
from jobs.repository import models
from tests.adderclient.conftest import Adder
from tests.api.attempt import MANIFEST, Worker

QUANTISATION = {"bits": 4, "groups": 1, "rescale": "shift", "correction": "affine", "finetune": None}


@pytest.fixture
def model_id(worker: Worker) -> str:
    stored = worker.store.put_stream([b"integers"])
    manifest = MANIFEST | {"quantisation": QUANTISATION}
    metrics = {"val/accuracy": 0.95}
    with worker.database.write(DEFAULT) as session:
        row = models.new_model(
            manifest,
            stored,
            source="trained",
            job_id=None,
            metrics=metrics,
            format="adder",
            derived_from="model_before",
        )
        models.add_model(session, row)
        return row.id


def test_it_is_downloaded_as_what_it_is(real: Client, model_id: str, tmp_path: Path) -> None:
    model = real.models.get(model_id)
    assert (model.format, model.derived_from) == ("adder", "model_before")
    path = real.models.download(model_id, f"{tmp_path}/")
    assert (path.name, path.read_bytes()) == ("model.adder", b"integers")
    with pytest.raises(ConflictError, match="no float weights"):
        real.models.download(model_id, f"{tmp_path}/", format="safetensors")


def test_its_card_says_how_it_is_run(real: Client, model_id: str, tmp_path: Path) -> None:
    folder = Path(real.models.export(model_id, tmp_path / "hub"))
    assert {path.name for path in folder.iterdir()} == {"README.md", "model.adder", "model.json"}
    card = (folder / "README.md").read_text()
    assert "pip install 'adderworks[runtime-image]'" in card
    assert 'addercore.runtime.load("model.adder")' in card
    assert "8-bit integers" in card
    assert "833,040 / 0" in card


def test_the_command_shows_and_fetches_it(real: Client, model_id: str, adder: Adder, tmp_path: Path) -> None:
    url = ("--url", real.url)
    shown = adder("show", model_id, *url).stdout
    assert "model_before" in shown
    assert "95.00 %" in shown
    fetched = adder("download", model_id, *url, "-o", str(tmp_path / "out"))
    assert fetched.returncode == 0, fetched.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.adder", "model.json"}


def test_it_is_exported_as_one_file(real: Client, model_id: str, adder: Adder, tmp_path: Path) -> None:
    done = adder("export", model_id, "--format", "adder", "-o", str(tmp_path / "files"), "--url", real.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "files" / "model.adder").read_bytes() == b"integers"
    refused = adder("export", model_id, "--format", "onnx", "-o", str(tmp_path / "files"), "--url", real.url)
    assert refused.returncode != 0
    assert "no inference process" in refused.stderr
