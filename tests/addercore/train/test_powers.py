"""Training with p from 2 to 1, and with another clip."""

from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import evaluate, fit, load
from addercore.config import InvalidConfig, TrainConfig
from addercore.train import checkpoint


def test_p_falls_in_a_straight_line_and_the_model_is_one_of_p_1(tmp_path: Path, config: Any, recorder: Any) -> None:
    spec = config(epochs=2, batch_size=400, metrics_every_steps=1, model={"p_schedule": {"from": 2, "until": 0.5}})
    seen = recorder()
    result = fit(spec, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    powers = {point.step: point.value for point in seen.points if point.name == "p"}
    assert powers == {1: 2.0, 2: 1.75, 3: 1.5, 4: 1.25, 5: 1.0, 6: 1.0, 7: 1.0, 8: 1.0}
    assert checkpoint.load(tmp_path / "checkpoints").state["p"] == 1.0
    model = load(tmp_path / "model.safetensors")
    assert model.manifest["config"]["model"]["p_schedule"] == {"from": 2.0, "to": 1.0, "until": 0.5}
    assert evaluate(model, "digits").accuracy == pytest.approx(result.metrics["val/accuracy"])


SMALL = [{"kind": "conv", "filters": 4}, {"kind": "max_pool", "size": 2}, {"kind": "linear", "features": 10}]


def test_best_and_early_stopping_wait_for_p_1(tmp_path: Path, config: Any) -> None:
    spec = config(
        epochs=3,
        batch_size=700,
        publish="best",
        early_stop={"patience": 1, "min_delta": 1.0},
        model={"arch": "custom", "layers": SMALL, "p_schedule": {"from": 1.5, "until": 0.9}},
    )
    assert fit(spec, workdir=tmp_path, device="cpu", threads=1).epoch == 3
    assert checkpoint.load(tmp_path / "checkpoints").state["best"]["epoch"] == 3


def test_the_clip_changes_what_is_learnt(tmp_path: Path, config: Any) -> None:
    found = {}
    for clip in ("hardtanh", "none", "sign"):
        spec = config(epochs=1, batch_size=400, optimizer={"clip_input_gradient": clip})
        fit(spec, workdir=tmp_path / clip, device="cpu", threads=1)
        found[clip] = load(tmp_path / clip / "model.safetensors").module.state_dict()["conv1.weight"]
    assert not torch.equal(found["hardtanh"], found["none"])
    assert not torch.equal(found["hardtanh"], found["sign"])


def test_it_is_for_adder_layers_and_costs_more() -> None:
    spec: dict[str, Any] = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
    slow = TrainConfig.from_dict(spec | {"model": {"arch": "lenet5_bn", "p_schedule": {}}})
    assert slow.operations() > 5 * TrainConfig.from_dict(spec).operations()
    assert slow.counts() == TrainConfig.from_dict(spec).counts()  # counts are of an image in the published network
    with pytest.raises(InvalidConfig, match=r"p_schedule is for adder layers, and the method is conv"):
        TrainConfig.from_dict(spec | {"model": {"arch": "lenet5_bn", "method": "conv", "p_schedule": {}}})
