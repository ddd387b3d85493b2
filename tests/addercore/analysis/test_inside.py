"""Looking into a training's checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as nnf

from addercore import TrainConfig, build, fit
from addercore.analysis.inside import look_inside, main
from addercore.config import dataset
from addercore.data import Preprocess, parts
from addercore.nn import adder_parameters
from addercore.train import checkpoint


@pytest.fixture
def folder(tmp_path: Path, config: Any) -> Path:
    spec = config(epochs=2, batch_size=400, dataset={"name": "digits", "holdout": 0.2}, optimizer={"eta": 0.2})
    fit(spec, workdir=tmp_path, device="cpu", threads=1)
    return tmp_path / "checkpoints"


def trained(state: dict[str, Any]) -> torch.nn.Module:
    network = build(TrainConfig.from_dict(state["config"]).network())
    network.load_state_dict(state["model"])
    return network


def filters_of(state: dict[str, Any], layer: str) -> list[float]:
    found: list[float] = state["model"][f"{layer}.weight"].flatten().tolist()
    return found


def velocity_of(state: dict[str, Any], layer: str) -> int:
    """The place of a layer's filters among the optimizer's parameters: first all others, then the filters."""
    network = trained(state)
    filters = list(adder_parameters(network))
    return len(list(network.parameters())) - len(filters) + filters.index(layer)


def everything(state: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The images that trained, as the network takes them, and their labels."""
    config = TrainConfig.from_dict(state["config"])
    side = parts("digits", None, config.holdout).train
    preprocess = Preprocess.of(dataset("digits"), torch.device("cpu"))
    return preprocess(side.pixels(torch.arange(len(side)))), side.labels


def test_it_sees_what_the_training_had(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(folder.glob("*.adderck"))
    state = checkpoint.load(paths[-1]).state
    moments = look_inside(paths, images=5000)
    last = moments[-1]
    assert (last.epoch, last.step) == (2, state["place"]["step"])
    assert last.validation_accuracy == pytest.approx(state["metrics"]["val/accuracy"])
    assert last.validation_loss == pytest.approx(state["metrics"]["val/loss"], rel=1e-3)
    first = last.layers[0]
    weight = state["model"][f"{first.layer}.weight"]
    assert first.weight_norm == pytest.approx(float(weight.norm()), rel=1e-5)
    assert first.local_rate * first.grad_norm == pytest.approx(0.2 * weight.numel() ** 0.5, rel=1e-5)  # eq. 13
    lr = state["optimizer"]["param_groups"][0]["lr"]
    assert first.relative_step == pytest.approx(lr * first.local_rate * first.grad_norm / first.weight_norm, rel=1e-4)

    velocity = state["optimizer"]["state"][velocity_of(state, first.layer)]["momentum_buffer"]
    assert first.moving == pytest.approx(lr * float(velocity.norm()) / first.weight_norm, rel=1e-5)
    images, labels = everything(state)
    network = trained(state).train()
    loss = nnf.cross_entropy(network(images), labels)
    assert last.train_by_batch == pytest.approx(float((network(images).argmax(1) == labels).double().mean()))
    loss.backward()  # type: ignore[no-untyped-call]
    filters = network.get_parameter(f"{first.layer}.weight")
    assert filters.grad is not None
    filters.data -= lr * 0.2 * filters.numel() ** 0.5 * filters.grad / filters.grad.norm()
    after = nnf.cross_entropy(network(images), labels)
    assert first.gain == pytest.approx((loss - after).item(), rel=1e-3)
    assert abs(first.gain) > 1e-6

    digits, values = images[:256].double(), filters_of(state, first.layer)
    beyond = [value for value in values if not 0.01 < float((digits < value).double().mean()) < 0.99]
    assert first.beyond == pytest.approx(len(beyond) / len(values), abs=1e-9)
    assert 0 < first.beyond < 1

    norms = [name for name in state["model"] if name.endswith("running_mean")]
    one = norms[0].rpartition(".")[0]
    state["model"][f"{one}.bias"][0] = -1e6
    checkpoint.save(folder / "broken.adderck", state)
    broken = look_inside([folder / "broken.adderck"])[0].layers[0]
    channels = len(state["model"][norms[0]])
    assert broken.dead is not None
    assert first.dead is not None
    assert broken.dead >= 1 / channels
    assert torch.isfinite(torch.tensor(broken.grad_norm))

    assert main([str(paths[-1]), "--json", "--images", "50"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["layer"] == first.layer
    assert main([str(paths[-1]), "--images", "50"]) == 0
    assert "step/‖F‖" in capsys.readouterr().out
