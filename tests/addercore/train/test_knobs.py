"""What a training can turn: warm-up, the filters' own learning rate and decay, their scale, the running statistics."""

from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf

from addercore import AdderSGD, build, fit, load
from addercore.config import InvalidConfig, TrainConfig
from addercore.data import source
from addercore.networks import build_for
from addercore.nn import adder_parameters
from addercore.train import checkpoint
from addercore.train.batches import Batches
from tests.addercore.optim.optim_cases import small

OPTIONS: dict[str, Any] = {"device": "cpu", "threads": 1, "curves": False}
SPEC: dict[str, Any] = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
STEPS = 4
"""Steps of an epoch of digits in batches of 400."""


def rates_of(seen: Any, name: str = "lr") -> dict[int, float]:
    return {point.step: point.value for point in seen.points if point.name == name}


def reasons(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as caught:
        TrainConfig.from_dict({**SPEC, **changes})
    return {error.pointer: error.reason for error in caught.value.errors}


def test_warm_up_rises_step_by_step_also_where_it_is_resumed(tmp_path: Path, config: Any, recorder: Any) -> None:
    """1.5 epochs of 4 steps: sixths of what the cosine has in each epoch. Stopped after step 3, in the middle."""
    optimizer = {"lr": 0.06, "filter_lr": 0.6, "warmup_epochs": 1.5}
    spec = config(epochs=3, batch_size=400, metrics_every_steps=1, optimizer=optimizer)
    whole, first, second = recorder(), recorder(stop_at=3), recorder()
    fit(spec, workdir=tmp_path / "whole", callbacks=whole, **OPTIONS)
    rises = (1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1, 1, 1, 1)
    expected = {n + 1: rise * (1 + cos(pi * (n // STEPS) / 3)) / 2 for n, rise in enumerate(rises)}
    assert rates_of(whole) == pytest.approx({step: 0.06 * share for step, share in expected.items()})
    assert rates_of(whole, "filter_lr") == pytest.approx({step: 0.6 * share for step, share in expected.items()})

    parts = tmp_path / "parts"
    assert fit(spec, workdir=parts, callbacks=first, **OPTIONS).step == 3
    state = checkpoint.load(parts / "checkpoints").state
    assert [group["lr"] for group in state["optimizer"]["param_groups"]] == pytest.approx([0.03, 0.3])
    fit(spec, workdir=parts, callbacks=second, resume_from=parts / "checkpoints", **OPTIONS)
    assert rates_of(second)[4] == pytest.approx(0.06 * 4 / 6)
    assert first.rows() | second.rows() == whole.rows()
    assert (parts / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_warm_up_goes_on_a_constant_rate_too(tmp_path: Path, config: Any, recorder: Any) -> None:
    optimizer = {"lr": 0.06, "schedule": "constant", "warmup_epochs": 0.5}
    spec, seen = config(epochs=1, batch_size=400, metrics_every_steps=1, optimizer=optimizer), recorder()
    fit(spec, workdir=tmp_path, callbacks=seen, **OPTIONS)
    assert rates_of(seen) == pytest.approx({1: 0.03, 2: 0.06, 3: 0.06, 4: 0.06})
    assert rates_of(seen, "filter_lr") == {}, "told only where it is another one"


def test_filters_have_a_rate_and_a_decay_of_their_own() -> None:
    model, before = small(), small()
    optimizer = AdderSGD(model, 0.1, 0.0, False, 0.5, "none", filter_lr=0.01, filter_weight_decay=0.25)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    filters = set(adder_parameters(model).values())
    assert filters
    for new, old in zip(model.parameters(), before.parameters(), strict=True):
        lr, decay = (0.01, 0.25) if new in filters else (0.1, 0.5)
        torch.testing.assert_close(new, old - lr * (1 + decay * old))
    with pytest.raises(ValueError, match="filter_lr must be ≥ 0, got -1"):
        AdderSGD(small(), 0.1, filter_lr=-1)
    with pytest.raises(ValueError, match="filter_weight_decay must be ≥ 0, got -2"):
        AdderSGD(small(), 0.1, filter_weight_decay=-2)


def test_a_training_hands_both_to_its_optimizer(tmp_path: Path, config: Any) -> None:
    """With next to no learning, decay alone moves the filters: F · (1 − γ · decay) in each step."""
    optimizer = {"lr": 1e-12, "filter_lr": 0.5, "eta": 1e-12, "filter_weight_decay": 0.1, "momentum": 0.0,
                 "nesterov": False, "schedule": "constant"}  # fmt: skip
    spec = config(epochs=1, batch_size=400, optimizer=optimizer)
    fit(spec, workdir=tmp_path, **OPTIONS)
    torch.manual_seed(spec.seed)
    first, last = build_for(spec).state_dict(), load(tmp_path / "model.safetensors").module.state_dict()
    torch.testing.assert_close(last["fc1.weight"], first["fc1.weight"] * 0.95**STEPS)
    torch.testing.assert_close(last["bn1.weight"], first["bn1.weight"])


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_adder_filters_start_at_the_scale(scale: float) -> None:
    spec = TrainConfig.from_dict({**SPEC, "model": {"arch": "lenet5_bn", "init_scale": scale, "first_last": "conv"}})
    scaled, plain = build_for(spec, seed=3), build(spec.network(), "adder", "conv", seed=3)
    filters = adder_parameters(scaled)
    assert set(filters) == {"conv2", "conv3", "fc1"}
    assert filters["fc1"].numel() == 10_080
    assert filters["fc1"].std().item() == pytest.approx(scale, rel=0.03)
    for name, value in scaled.state_dict().items():
        factor = scale if name.rpartition(".")[0] in filters else 1
        assert torch.equal(value, plain.state_dict()[name] * factor), name


@pytest.mark.parametrize("method", ["adder", "conv"])
def test_running_statistics_after_one_batch(tmp_path: Path, config: Any, recorder: Any, method: str) -> None:
    spec = config(epochs=1, batch_size=400, model={"method": method, "batchnorm_momentum": 0.3})
    fit(spec, workdir=tmp_path, callbacks=recorder(stop_at=1), **OPTIONS)
    state = checkpoint.load(tmp_path / "checkpoints").state
    assert state["place"]["step"] == 1
    torch.manual_seed(spec.seed)
    network = build_for(spec)
    batches = Batches(source("digits", "train"), spec, torch.device("cpu"))
    images, _ = batches.part(0, batches.permutation(0), 0)
    y = network.get_submodule("conv1")(images)
    mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), correction=1)
    torch.testing.assert_close(state["model"]["bn1.running_mean"], 0.3 * mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state["model"]["bn1.running_var"], 0.7 + 0.3 * variance, rtol=1e-4, atol=1e-5)


def test_without_them_it_is_the_network_and_the_rate_of_before(tmp_path: Path, config: Any) -> None:
    """The loop of Algorithm 1 that knows nothing of these fields ends with the same bytes."""
    spec = config(batch_size=400)
    fit(spec, workdir=tmp_path, **OPTIONS)
    torch.manual_seed(spec.seed)
    network, o = build(spec.network()), spec.optimizer
    optimizer = AdderSGD(network, o.lr, o.momentum, o.nesterov, o.weight_decay, o.adaptive_lr, o.eta, o.clip_norm)
    batches = Batches(source("digits", "train"), spec, torch.device("cpu"))
    for epoch in range(spec.epochs):
        for group in optimizer.param_groups:
            group["lr"] = o.lr * (1 + cos(pi * epoch / spec.epochs)) / 2
        for step in range(STEPS):
            images, labels = batches.part(epoch, batches.permutation(epoch), step)
            optimizer.zero_grad()
            nnf.cross_entropy(network.train()(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    found = load(tmp_path / "model.safetensors").module.state_dict()
    assert [name for name, value in network.state_dict().items() if not torch.equal(value, found[name])] == []


NEW = {
    "model": ("init_scale", "batchnorm_momentum"),
    "optimizer": ("filter_lr", "filter_weight_decay", "warmup_epochs"),
}


def test_a_checkpoint_of_before_goes_on(tmp_path: Path, config: Any, recorder: Any) -> None:
    spec, seen = config(batch_size=400), recorder()
    fit(spec, workdir=tmp_path, callbacks=recorder(stop_at=3), **OPTIONS)
    found = checkpoint.load(tmp_path / "checkpoints")
    for section, names in NEW.items():
        for name in names:
            del found.state["config"][section][name]
    checkpoint.save(found.path, found.state)
    fit(spec, workdir=tmp_path / "more", callbacks=seen, resume_from=found.path, **OPTIONS)
    assert seen.events[0][0] == "resumed"
    fit(spec, workdir=tmp_path / "whole", **OPTIONS)
    assert (tmp_path / "more/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_what_does_not_go_is_said() -> None:
    assert reasons(optimizer={"warmup_epochs": 5}, epochs=5) == {
        "/optimizer/warmup_epochs": "must be less than epochs (5), got 5"
    }
    assert reasons(optimizer={"warmup_epochs": -1, "filter_lr": 0, "filter_weight_decay": -0.1}) == {
        "/optimizer/warmup_epochs": "must be ≥ 0, got -1",
        "/optimizer/filter_lr": "must be > 0, got 0",
        "/optimizer/filter_weight_decay": "must be ≥ 0, got -0.1",
    }
    assert reasons(model={"arch": "lenet5_bn", "init_scale": 0, "batchnorm_momentum": 1.5}) == {
        "/model/init_scale": "must be > 0, got 0",
        "/model/batchnorm_momentum": "must be > 0 and ≤ 1, got 1.5",
    }
    conv = {"arch": "lenet5_bn", "method": "conv"}
    unfit = "is for adder layers, and the method is conv; leave it out"
    assert reasons(model={**conv, "init_scale": 0.5}) == {"/model/init_scale": unfit}
    assert reasons(model=conv, optimizer={"filter_lr": 0.5, "filter_weight_decay": 0.0}) == {
        "/optimizer/filter_lr": unfit,
        "/optimizer/filter_weight_decay": unfit,
    }
    assert TrainConfig.from_dict({**SPEC, "model": {**conv, "batchnorm_momentum": 0.01}}).model.init_scale == 1
    with pytest.raises(ValueError, match="init_scale must be > 0, got 0"):
        build(TrainConfig.from_dict(SPEC).network(), init_scale=0)
    with pytest.raises(ValueError, match="batchnorm_momentum must be 0 to 1, got 2"):
        build(TrainConfig.from_dict(SPEC).network(), batchnorm_momentum=2)
