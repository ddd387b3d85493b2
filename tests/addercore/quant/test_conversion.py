"""What a quantisation leaves: its files, its result, and the same bytes after a stop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from addercore import runtime
from addercore.config import QuantizeConfig
from addercore.errors import BadModel, Stopped
from addercore.io import encode
from addercore.quant.conversion import MODEL, Conversion, convert
from addercore.quant.running import RunningModel
from addercore.train import Callbacks

SPEC = {"model_id": "model_1", "dataset": {"name": "digits"}, "bits": 4, "calibration_images": 64}


class StopAfterEpoch(Callbacks):
    """Stops once an epoch of fine-tuning has its checkpoint."""

    def __init__(self) -> None:
        self.saved: list[Path] = []

    def on_checkpoint(self, path: Path, step: int, epoch: int, sha256: str) -> None:
        self.saved.append(path)

    def should_stop(self) -> bool:
        return bool(self.saved)


def converted(model: Path, folder: Path, **changes: object) -> Conversion:
    folder.mkdir()
    return convert(QuantizeConfig.from_dict(SPEC | changes), model, folder)


def test_the_files_and_the_result(digits_model: Path, tmp_path: Path) -> None:
    found = converted(digits_model, tmp_path / "one", bits=8)
    assert {item.name for item in found.artifacts} == {MODEL, "report.json", "report.md", "golden.npz"}
    result, path = found.result, tmp_path / "one" / MODEL
    assert abs(result["float"]["accuracy"] - result["integer"]["accuracy"]) <= 0.02
    assert result["agreement"] > 0.97
    assert result["model_bytes"] == path.stat().st_size
    assert (result["operations"]["mul"], result["operations"]["add"]) == (0, 833_040)
    assert json.loads((tmp_path / "one" / "report.json").read_text())["integer"] == result["integer"]
    assert f"{result['integer']['accuracy']:.2%}" in (tmp_path / "one" / "report.md").read_text()
    opened = runtime.load(path)
    assert opened.manifest == found.manifest
    with np.load(tmp_path / "one" / "golden.npz") as vectors:
        np.testing.assert_array_equal(opened.run(vectors["images"]), vectors["scores"])


def test_it_is_evaluated_as_it_was_measured_by_the_engine_and_without(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = converted(digits_model, tmp_path / "one")
    path = tmp_path / "one" / MODEL
    engine = RunningModel(path, threads=2)
    measured = engine.evaluate("digits", batch_size=50)
    assert (measured.accuracy, measured.images) == (found.result["integer"]["accuracy"], 360)
    assert sum(map(sum, measured.confusion_matrix)) == 360

    def no_library(path: object) -> None:
        raise RuntimeError("no library")

    monkeypatch.setattr(runtime, "load", no_library)
    without = RunningModel(path)
    assert (without.engine, engine.engine != "torch") == ("torch", True)
    assert without.evaluate("digits", batch_size=360).confusion_matrix == measured.confusion_matrix


def test_stopped_after_an_epoch_it_ends_with_the_same_bytes(digits_model: Path, tmp_path: Path) -> None:
    finetune = {"epochs": 2, "lr": 0.01}
    converted(digits_model, tmp_path / "whole", finetune=finetune)
    config = QuantizeConfig.from_dict(SPEC | {"finetune": finetune})
    (tmp_path / "half").mkdir()
    callbacks = StopAfterEpoch()
    with pytest.raises(Stopped):
        convert(config, digits_model, tmp_path / "half", callbacks=callbacks)
    convert(config, digits_model, tmp_path / "half", resume_from=callbacks.saved[0])
    assert (tmp_path / "half" / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()


@pytest.mark.parametrize(("changed", "says"), [({"method": "bnn"}, "by bnn"), (None, "integer model already")])
def test_a_model_that_is_none_for_integers(changed: dict[str, str] | None, says: str) -> None:
    from addercore.config import unfit_for_integers

    manifest: dict[str, object] = {"network": {"method": "adder"} | (changed or {})}
    if changed is None:
        manifest["quantisation"] = {}
    reason = unfit_for_integers(manifest)
    assert reason is not None
    assert says in reason


def test_a_binary_network_is_refused_by_name(tmp_path: Path) -> None:
    from addercore.config import TrainConfig
    from addercore.io import manifest_of
    from addercore.networks import build

    config = TrainConfig.from_dict(
        {"kind": "train", "model": {"arch": "lenet5_bn", "method": "xnor"}, "dataset": {"name": "digits"}, "epochs": 1}
    )
    path = tmp_path / "model.safetensors"
    module = build(config.network(), "xnor", config.model.first_last)
    path.write_bytes(encode(module.state_dict(), manifest_of(config, {})))
    with pytest.raises(BadModel, match="by xnor"):
        converted(path, tmp_path / "work")
