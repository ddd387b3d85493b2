"""The residual networks: exact counts, names, what a training step keeps, and a job from its configuration."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import addercore
from addercore import build, fit
from addercore.arch import METHODS, count, network, tensors
from addercore.arch.layers import AvgPool, Flatten, MaxPool, Sequential
from addercore.arch.networks import Network
from addercore.config import TrainConfig
from addercore.nn import Adder2d, AdderLinear, Binary2d

pytestmark = pytest.mark.bits

PUBLISHED = {  # multiply-accumulates (docs/paper.md, section 2)
    "resnet20": ((3, 32, 32), 10, 40_813_184),
    "resnet32": ((3, 32, 32), 10, 69_124_736),
    "resnet18": ((3, 224, 224), 1000, 1_814_073_344),
}


@pytest.mark.parametrize("arch", PUBLISHED)
def test_counts(arch: str) -> None:
    shape, classes, n = PUBLISHED[arch]
    net = network(arch, shape, classes)
    conv, adder = count(net, "conv").operations, count(net).operations
    assert (conv.add, conv.mul) == (n, n)
    assert (adder.add, adder.mul) == (2 * n, 0)


def test_counts_with_convolutional_ends() -> None:
    mixed = count(network("resnet20", (3, 32, 32), 10), "adder", "conv").operations
    assert (mixed.add, mixed.mul) == (81_183_360, 443_008)


def test_resnet18_is_the_usual_one() -> None:
    """Parameters of the usual ResNet-18 (11,689,512, with 1000 biases), with a normalisation in place of the biases."""
    net = network("resnet18", (3, 224, 224), 1000)
    assert count(net).parameters == 11_689_512 - 1000 + 2 * 1000
    shapes = {layer.name: layer.output_shape for layer in net.layers()}
    assert shapes["conv"] == (64, 112, 112)
    assert shapes["max_pool"] == (64, 56, 56)
    assert shapes["stage4.block2.body.conv2"] == (512, 7, 7)
    assert shapes["pool"] == (512, 1, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first_last", ["adder", "conv"])
def test_layers_are_realised_as_asked(method: str, first_last: str) -> None:
    module = build(network("resnet20", (1, 9, 14), 7), method, first_last, seed=0)
    parts = dict(module.named_modules())
    inner = {"adder": Adder2d, "conv": nn.Conv2d}.get(method, Binary2d)
    ends = inner if first_last == "adder" else nn.Conv2d
    assert [type(parts[name]) for name in ("conv", "classifier")] == [ends, ends]
    assert type(parts["stage2.block1.shortcut.conv"]) is inner
    layers = [part for part in parts.values() if isinstance(part, Adder2d | nn.Conv2d)]
    assert len(layers) == 22  # 20 and two shortcuts
    assert module(torch.randn(2, 1, 9, 14)).shape == (2, 7)


@pytest.mark.parametrize("arch", PUBLISHED)
def test_any_image_and_number_of_classes_that_fit(arch: str) -> None:
    for shape, classes in (((1, 32, 32), 10), ((4, 17, 40), 3), ((2, 3, 3), 2)):
        net = network(arch, shape, classes)
        module = build(net, seed=0).eval()
        assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {
            name: found for name, (_, found) in tensors(net).items()
        }
        with torch.no_grad():
            assert module(torch.randn(2, *shape)).shape == (2, classes)


@pytest.mark.parametrize("size", [(7, 9), (8, 8), (3, 5)])
def test_pools_have_torch_s_shapes(size: tuple[int, int]) -> None:
    net = Network("pools", (2, *size), 2, Sequential("", (MaxPool("max", 3, stride=2, padding=1), MaxPool("two", 2))))
    module = build(net)
    x = torch.randn(3, 2, *size)
    assert torch.equal(module(x), nn.functional.max_pool2d(nn.functional.max_pool2d(x, 3, 2, 1), 2))
    assert module(x).shape[1:] == net.layers()[-1].output_shape
    mean = Network("mean", (2, *size), 2, Sequential("", (AvgPool("mean"), Flatten("flat"))))
    torch.testing.assert_close(build(mean)(x), x.mean((2, 3)))


def test_a_pool_that_does_not_fit_is_named() -> None:
    for pool, says in (
        (MaxPool("p", 9), r"p has a 9×9 window.*\(1, 8, 8\)"),
        (MaxPool("p", 3, 2, 2), "padding.*got 2"),
    ):
        with pytest.raises(ValueError, match=says):
            Network("wrong", (1, 8, 8), 2, Sequential("", (pool,))).layers()
    with pytest.raises(ValueError, match=r"mean averages.*\(64,\)"):
        Network("wrong", (1, 8, 8), 2, Sequential("", (Flatten("f"), AvgPool("mean")))).layers()


def kept_bytes(module: nn.Module, x: Tensor) -> int:
    """What a training step keeps for its backward, each memory once, parameters not counted."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    held = []  # so that no address is used twice
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(tensor) or keep(tensor), lambda t: t):
        y = module(x)
    for parameter in module.parameters():
        seen.pop(parameter.untyped_storage().data_ptr(), None)
    y.sum().backward()
    return sum(seen.values())


@pytest.mark.parametrize("arch", ["resnet20", "resnet18", "lenet5_bn"])
def test_a_training_step_keeps_no_more_than_the_convolutional_twin_s(arch: str) -> None:
    net = network(arch, (1, 32, 32), 10)
    x = torch.randn(4, 1, 32, 32)
    adder, conv = (kept_bytes(build(net, method, seed=0), x) for method in ("adder", "conv"))
    assert 0 < adder <= 1.02 * conv


@pytest.mark.long("twenty layers")
def test_a_job_trains_resnet20(tmp_path: Path, recorder: Any) -> None:
    spec = {
        "model": {"arch": "resnet20"},
        "dataset": {"name": "digits"},
        "epochs": 1,
        "batch_size": 479,
        "metrics_every_steps": 1,
    }
    seen = recorder()
    result = fit(TrainConfig.from_dict(spec), workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert (result.step, result.epoch) == (3, 1)
    assert {"grad_norm/stage2.block1.shortcut.conv", "local_lr/classifier"} <= {point.name for point in seen.points}
    model = addercore.load(tmp_path / "model.safetensors")
    assert len(model.predict(torch.rand(32, 32).numpy()).probabilities) == 10


def test_a_network_is_an_ordinary_module() -> None:
    module: Any = build(network("lenet5_bn", (1, 32, 32), 10), seed=0)
    twin = copy.deepcopy(module).eval()
    module.eval()
    x = torch.randn(2, 1, 32, 32)
    features = module[:-5]  # a slice is a network as well
    with torch.no_grad():
        assert torch.equal(module(x), twin(x))
        assert torch.equal(module[-5:](features(x)), module(x))
    assert isinstance(module.fc1, AdderLinear)
