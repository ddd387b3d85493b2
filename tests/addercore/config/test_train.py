"""Networks as data, exact counts, recipes, and configurations that name every bad field."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from addercore import build
from addercore.arch import ARCHS, METHODS, count, network, tensors
from addercore.arch.layers import BatchNorm, Conv, Flatten, Linear, MaxPool, ReLU, Residual, Sequential
from addercore.arch.networks import Network
from addercore.config import (
    DATASETS,
    DatasetInfo,
    InvalidConfig,
    TrainConfig,
    dataset,
    is_dataset,
    recipe,
    register,
)

LENET = network("lenet5_bn", (1, 32, 32), 10)
N = 416_520  # multiply-accumulates of LeNet-5-BN (docs/paper.md, section 2)


def test_lenet_counts_are_exact() -> None:
    adder, conv, mixed = count(LENET), count(LENET, "conv"), count(LENET, "adder", "conv")
    assert (adder.operations.add, adder.operations.mul, adder.operations.xnor) == (2 * N, 0, 0)
    assert (conv.operations.add, conv.operations.mul) == (N, N)
    edges = 28 * 28 * 6 * 25 + 84 * 10  # first and last layer
    assert (mixed.operations.add, mixed.operations.mul) == (2 * (N - edges) + edges, edges)
    assert adder.energy_joules == pytest.approx(2 * N * 0.9e-12)
    assert conv.energy_joules == pytest.approx(N * (0.9e-12 + 3.7e-12))
    filters = 6 * 25 + 16 * 6 * 25 + 120 * 16 * 25 + 84 * 120 + 10 * 84
    assert adder.parameters == conv.parameters == filters + 2 * (6 + 16 + 120 + 84 + 10)
    outputs = 3 * 6 * 28 * 28 + 6 * 14 * 14 + 3 * 16 * 10 * 10 + 16 * 5 * 5 + 3 * 120 + 3 * 84 + 2 * 10
    assert adder.activation_bytes == 4 * outputs


def test_counts_as_the_contract_has_them() -> None:
    model = count(LENET).to_dict()
    assert set(model) == {
        *("parameters", "operations", "layers", "energy_joules", "activation_bytes"),
        *("data_type", "parameter_bytes", "latency_cycles", "energy_by_data_type"),
    }
    assert model["layers"][0] == {
        "name": "conv1",
        "kind": "adder_conv",
        "output_shape": [6, 28, 28],
        "parameters": 150,
        "operations": {"add": 235_200, "mul": 0, "xnor": 0},
        "parameter_bytes": 600,
        "activation_bytes": 4 * 6 * 28 * 28,
        "energy_joules": 235_200 * 0.9e-12,
        "latency_cycles": 470_400,
    }
    assert sum(layer["parameters"] for layer in model["layers"]) == model["parameters"]
    assert sum(layer["operations"]["add"] for layer in model["layers"]) == model["operations"]["add"]
    kinds = {layer["name"]: layer["kind"] for layer in count(LENET, "adder", "conv").to_dict()["layers"]}
    assert [kinds[name] for name in ("conv1", "conv2", "conv3", "fc1", "fc2")] == [
        "conv",
        "adder_conv",
        "adder_conv",
        "adder_linear",
        "linear",
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("arch", ARCHS)
def test_the_module_is_what_the_spec_says(arch: str, method: str) -> None:
    """Names, shapes and parameters of the torch module against the pure description of it."""
    net = network(arch, (1, 32, 32), 10)
    with torch.device("cpu" if method == "adder" else "meta"):  # autocast knows no meta tensors, adder layers ask it
        module = build(net, method, seed=0)
        image = torch.zeros(2, 1, 32, 32)
    state = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert state == {name: shape for name, (_, shape) in tensors(net).items()}
    assert sum(parameter.numel() for parameter in module.parameters()) == count(net, method).parameters
    shapes: dict[str, tuple[int, ...]] = {}
    for name, part in module.named_modules():
        part.register_forward_hook(lambda _m, _i, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:])))
    module.eval()(image)
    assert {layer.name: layer.output_shape for layer in count(net, method).layers}.items() <= shapes.items()


def test_building_draws_from_torch_or_from_its_own_seed() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = build(LENET, seed=1), build(LENET, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not torch.equal(first.conv1.weight, build(LENET, seed=2).conv1.weight)  # type: ignore[union-attr,arg-type]
    mixed = build(LENET, "adder", "conv")
    assert isinstance(mixed.conv1, nn.Conv2d)
    assert isinstance(mixed.fc2, nn.Linear)
    assert type(mixed.conv2).__name__ == "Adder2d"


def test_residual_networks_fit_the_same_tree() -> None:
    block = Residual(
        "block",
        Sequential("body", (Conv("conv", 4, 8, (3, 3), (2, 2), (1, 1)), BatchNorm("bn", 8))),
        Sequential("shortcut", (Conv("conv", 4, 8, (1, 1), (2, 2)), BatchNorm("bn", 8))),
    )
    same = Residual("same", Sequential("body", (Conv("conv", 8, 8, (3, 3), padding=(1, 1)), BatchNorm("bn", 8))))
    stem = (Conv("stem", 1, 4, (3, 3), padding=(1, 1), role="first"), BatchNorm("bn", 4), ReLU("relu"))
    head = (MaxPool("pool", 4), Flatten("flatten"), Linear("fc", 8, 3, role="last"))
    net = Network("test", (1, 8, 8), 3, Sequential("", (*stem, Sequential("stage", (block, same)), *head)))
    module = build(net, "adder", "conv", seed=0)
    assert set(dict(module.named_parameters())) >= {
        "stage.block.body.conv.weight",
        "stage.block.shortcut.bn.bias",
        "stage.same.body.conv.weight",
    }
    assert {name for name, _ in module.state_dict().items()} == set(tensors(net))
    assert module(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    x = torch.randn(2, 8, 4, 4)
    stage = module.get_submodule("stage.same")
    torch.testing.assert_close(stage.eval()(x), x + stage.get_submodule("body")(x))
    macs = 64 * 4 * 9 + 16 * 8 * (4 * 9 + 4 + 8 * 9) + 8 * 3
    assert count(net, "conv").operations.mul == macs
    wrong = Network("wrong", (4, 8, 8), 3, Sequential("", (Residual("add", Sequential("body", (MaxPool("p", 2),))),)))
    with pytest.raises(ValueError, match=r"add adds \(4, 4, 4\).*\(4, 8, 8\)"):
        wrong.layers()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: network("inception", (1, 32, 32), 10), "'inception'.*lenet5_bn"),
        (lambda: network("lenet5_bn", (1, 20, 20), 10), r"\(1, 20, 20\).*conv3.*\(16, 2, 2\)"),
        (lambda: network("lenet5_bn", (32, 32), 10), r"\(32, 32\)"),
        (lambda: network("lenet5_bn", (1, 32, 32), 1), "classes.*1"),
        (lambda: count(LENET, "xor"), "'xor'.*adder, conv, bnn, xnor, bwn"),
        (lambda: count(LENET, "adder", "both"), "'both'"),
        (lambda: dataset("fashion"), "'fashion'.*digits, mnist"),
        (lambda: recipe("digits", "xor"), "'xor'"),
    ],
)
def test_what_is_unknown_or_does_not_fit_is_named(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_a_larger_input_is_fine() -> None:
    module = build(network("lenet5_bn", (3, 40, 36), 7), seed=0)
    assert module(torch.zeros(2, 3, 40, 36)).shape == (2, 7)


SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def test_defaults_are_the_recipe_and_survive_a_round_trip() -> None:
    config = TrainConfig.from_dict({**SPEC, "labels": {"study": "eta"}, "priority": 3, "resources": {}, "limits": {}})
    assert (config.epochs, config.batch_size, config.optimizer.lr, config.optimizer.eta) == (30, 128, 0.1, 0.1)
    assert config.optimizer.nesterov
    assert config == TrainConfig.default("lenet5_bn", "digits")
    assert TrainConfig.from_dict(config.to_dict()) == config
    mnist = TrainConfig.default("lenet5_bn", "mnist", method="conv")
    assert (mnist.epochs, mnist.batch_size, mnist.optimizer.adaptive_lr) == (50, 256, "none")
    partial = TrainConfig.from_dict({**SPEC, "optimizer": {"lr": 0.5}, "early_stop": {"patience": 3}})
    assert (partial.optimizer.lr, partial.optimizer.momentum) == (0.5, 0.9)
    assert partial.early_stop is not None
    assert partial.early_stop.min_delta == 0
    assert TrainConfig.from_dict(partial.to_dict()) == partial


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_is_valid(name: str, method: str) -> None:
    spec = recipe(name, method)
    spec["model"]["arch"] = "lenet5_bn"
    assert TrainConfig.from_dict(spec).to_dict() == spec


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"optimizer": {"lr": -0.1}}, "/optimizer/lr", "optimizer.lr must be > 0, got -0.1"),
        ({"optimizer": {"lr": float("nan")}}, "/optimizer/lr", "got nan"),
        ({"optimizer": {"lr": True}}, "/optimizer/lr", "got True"),
        ({"optimizer": {"momentum": 1}}, "/optimizer/momentum", "must be ≥ 0 and < 1, got 1"),
        ({"optimizer": {"momentum": 0}}, "/optimizer/nesterov", "momentum > 0"),
        ({"optimizer": {"accumulate": 0}}, "/optimizer/accumulate", "≥ 1"),
        ({"optimizer": {"schedule": "step"}}, "/optimizer/schedule", "cosine, constant"),
        ({"optimizer": {"speed": 1}}, "/optimizer/speed", "known: lr"),
        ({"optimizer": 3}, "/optimizer", "an object, got 3"),
        ({"model": {"arch": "x"}}, "/model/arch", "lenet5_bn"),
        ({"model": {}}, "/model/arch", "required"),
        ({"model": {"arch": "lenet5_bn", "method": "xor"}}, "/model/method", "'xor'"),
        ({"dataset": {}}, "/dataset/name", "required"),
        ({"dataset": {"name": "x"}}, "/dataset/name", "digits, mnist"),
        ({"dataset": {"name": ["digits"]}}, "/dataset/name", "digits, mnist"),
        ({"batch_size": 5000}, "/batch_size", "batch_size 5000 exceeds the 1437 training images of digits"),
        ({"batch_size": 1}, "/batch_size", "two images"),
        ({"epochs": 1.5}, "/epochs", "1.5"),
        ({"seed": -1}, "/seed", "-1"),
        ({"seed": 2**63}, "/seed", "≤"),
        ({"precision": "fp16"}, "/precision", "fp32, bf16"),
        ({"early_stop": {"patience": 0}}, "/early_stop/patience", "≥ 1"),
        ({"early_stop": {}}, "/early_stop/patience", "required"),
        ({"checkpoint": {"keep": 0}}, "/checkpoint/keep", "≥ 1"),
        ({"init_from": 3}, "/init_from", "3"),
        ({"distill": {}}, "/distill/teacher", "required"),
        ({"distill": {"teacher": ""}}, "/distill/teacher", "a model's id, got ''"),
        ({"distill": {"teacher": "model_1", "temperature": 0}}, "/distill/temperature", "> 0, got 0"),
        ({"distill": {"teacher": "model_1", "features": -1}}, "/distill/features", "≥ 0, got -1"),
        ({"distill": {"teacher": "model_1", "weight": 1.5}}, "/distill/weight", "must be ≥ 0 and ≤ 1, got 1.5"),
        ({"distill": {"teacher": "model_1", "weight": -0.1}}, "/distill/weight", "must be ≥ 0 and ≤ 1, got -0.1"),
        ({"epoch": 3}, "/epoch", "known: .*epochs"),
    ],
)
def test_a_bad_field_is_named_with_value_and_remedy(change: dict[str, Any], pointer: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says) as caught:
        TrainConfig.from_dict({**SPEC, **change})
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_all_bad_fields_are_reported_together() -> None:
    bad = {**SPEC, "optimizer": {"lr": 0, "eta": 0}, "epochs": 0, "batch_size": 9999, "what": 1}
    with pytest.raises(InvalidConfig) as caught:
        TrainConfig.from_dict(bad)
    pointers = {error.pointer for error in caught.value.errors}
    assert pointers == {"/optimizer/lr", "/optimizer/eta", "/epochs", "/batch_size", "/what"}


def test_a_users_dataset_is_known_once_it_is_registered() -> None:
    info = replace(dataset("digits"), name="ds_registered")
    assert not is_dataset("ds_registered")
    register(DatasetInfo.from_dict(json.loads(json.dumps(info.to_dict()))))
    register(info)
    assert is_dataset("ds_registered")
    assert dataset("ds_registered") == info
    for other in (replace(info, train_size=1), replace(info, name="digits")):
        with pytest.raises(ValueError, match="another dataset"):
            register(other)
