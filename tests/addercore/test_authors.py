"""State dictionaries of the paper's own code: the converted network computes the same numbers as theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

import addercore
from addercore import BadModel
from addercore.authors import convert


class Adder(nn.Module):
    """The paper's layer (eq. 2) by its definition, with the parameter's name of the paper's code."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__()
        self.adder = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        patches = nnf.unfold(x, self.size, padding=self.size // 2, stride=self.stride)
        distance = torch.cdist(self.adder.flatten(1)[None].expand(len(x), -1, -1), patches.mT.contiguous(), p=1)
        side = (x.shape[-1] - 1) // self.stride + 1
        return -distance.unflatten(-1, (side, side))


class Block(nn.Module):
    """A residual block with layers of the given `(size, outputs, stride)`."""

    def __init__(self, inputs: int, plan: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.depth, width = len(plan), inputs
        for number, (size, outputs, stride) in enumerate(plan, 1):
            self.add_module(f"conv{number}", Adder(width, outputs, size, stride))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            width = outputs
        stride = max(stride for *_, stride in plan)
        changes = inputs != width or stride != 1
        self.downsample = nn.Sequential(Adder(inputs, width, 1, stride), nn.BatchNorm2d(width)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        value = x
        for number in range(1, self.depth + 1):
            value = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(value))
            value = value.relu() if number < self.depth else value
        return (value + (x if self.downsample is None else self.downsample(x))).relu()


class Theirs(nn.Module):
    """ResNet-20 or ResNet-50 with the names of the paper's code."""

    def __init__(self, deep: bool, classes: int) -> None:
        super().__init__()
        self.deep = deep
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False) if deep else nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        width = self.conv1.out_channels
        self.bn1 = nn.BatchNorm2d(width)
        stages = [(64, 3), (128, 4), (256, 6), (512, 3)] if deep else [(16, 3), (32, 3), (64, 3)]
        for stage, (channels, blocks) in enumerate(stages, 1):
            made = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                plan = [(3, channels, stride), (3, channels, 1)]
                if deep:
                    plan = [(1, channels, 1), (3, channels, stride), (1, 4 * channels, 1)]
                made.append(Block(width, plan))
                width = plan[-1][1]
            self.add_module(f"layer{stage}", nn.Sequential(*made))
        self.fc = nn.Conv2d(width, classes, 1, bias=deep)
        self.bn2 = nn.BatchNorm2d(classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = nnf.max_pool2d(x, 3, 2, 1) if self.deep else x
        for stage in range(1, 5 if self.deep else 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return torch.flatten(self.bn2(self.fc(nnf.adaptive_avg_pool2d(x, 1))), 1)


def their_network(deep: bool, classes: int, images: Tensor) -> Theirs:
    """With random weights, and the batch statistics of these images."""
    torch.manual_seed(5)
    net = Theirs(deep, classes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    if net.fc.bias is not None:
        nn.init.uniform_(net.fc.bias, -2, 2)
    with torch.no_grad():
        net.train()(images)
    return net.eval()


@pytest.fixture(scope="module")
def resnet20() -> tuple[Theirs, Tensor]:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return their_network(False, 10, images), images


def wrapped(net: nn.Module, how: str) -> Any:
    state = net.state_dict()
    if how == "parallel":
        return {f"module.{name}": value for name, value in state.items()}
    return {"net": state, "acc": 91.8, "epoch": 399} if how == "checkpoint" else state


@pytest.mark.parametrize("how", ["plain", "parallel", "checkpoint"])
def test_the_papers_resnet_20_gives_the_same_scores(tmp_path: Path, resnet20: tuple[Theirs, Tensor], how: str) -> None:
    net, images = resnet20
    torch.save(wrapped(net, how), tmp_path / "ANN.pth")
    manifest = convert(tmp_path / "ANN.pth", tmp_path / "model.safetensors")
    assert (manifest["network"]["arch"], manifest["dataset"]) == ("resnet20", "cifar10")
    model = addercore.load(tmp_path / "model.safetensors")
    with torch.inference_mode():
        assert torch.allclose(model.module(images), net(images), rtol=1e-3, atol=1e-3)


def test_the_papers_resnet_50_keeps_its_bias(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    net = their_network(True, 1000, images)
    torch.save(net.state_dict(), tmp_path / "ResNet50-AdderNet.ckpt")
    manifest = convert(tmp_path / "ResNet50-AdderNet.ckpt", tmp_path / "model.safetensors")
    assert (manifest["network"]["arch"], manifest["dataset"]) == ("resnet50_v1.5", "imagenet")
    model = addercore.load(tmp_path / "model.safetensors")
    with torch.inference_mode():
        assert torch.allclose(model.module(images), net(images), rtol=1e-2, atol=1e-2)


def test_their_classes_decide_the_dataset_or_the_user_does(tmp_path: Path) -> None:
    net = Theirs(False, 100)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", tmp_path / "m")["dataset"] == "cifar100"
    with pytest.raises(ValueError, match=r"cifar10 has 10 classes, the network in .* 100"):
        convert(tmp_path / "a.pth", tmp_path / "m", "cifar10")
    torch.save(Theirs(False, 7).state_dict(), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"has 7 classes; known are 10 .*--dataset"):
        convert(tmp_path / "b.pth", tmp_path / "m")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda net: net, r"holds more than plain values, perhaps a whole network.*state_dict\(\), FILE"),
        (lambda net: [1, 2], "holds no tensors by name"),
        (lambda net: {"weight": torch.ones(2)}, "lacks fc.weight or layer1.0.conv1.adder, and has weight"),
        (lambda net: without(net, "layer2.0.downsample.0.adder"), "lacks layer2.0.downsample.0.adder of the paper's"),
        (lambda net: net.state_dict() | {"layer9.extra": torch.ones(1)}, "has tensors .* has not: layer9.extra"),
        (lambda net: net.state_dict() | {"conv1.weight": torch.ones(16, 1, 3, 3)}, "conv1.weight has the shape"),
        (lambda net: net.state_dict() | {"bn1.bias": torch.full((16,), torch.nan)}, "bn1.bias has values that are NaN"),
    ],
)
def test_what_is_no_state_of_theirs_is_refused_in_words(
    tmp_path: Path, resnet20: tuple[Theirs, Tensor], content: Any, says: str
) -> None:
    torch.save(content(resnet20[0]), tmp_path / "it.pth")
    with pytest.raises(BadModel, match=says):
        convert(tmp_path / "it.pth", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_no_code_of_a_file_runs(tmp_path: Path, resnet20: tuple[Theirs, Tensor]) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"net": resnet20[0].state_dict(), "more": Trap(sprung)}, tmp_path / "it.pth")
    with pytest.raises(BadModel, match="holds more than plain values"):
        convert(tmp_path / "it.pth", tmp_path / "m")
    assert not sprung.exists()


def without(net: nn.Module, name: str) -> dict[str, Tensor]:
    return {key: value for key, value in net.state_dict().items() if key != name}


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, resnet20: tuple[Theirs, Tensor], kept: float) -> None:
    path = tmp_path / "it.pth"
    torch.save(resnet20[0].state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(BadModel, match=r"it\.pth"):
        convert(path, tmp_path / "m")


def test_the_program_says_what_is_wrong_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mindspore.ckpt").write_bytes(b"\x0a\x20conv1.weight" + bytes(100))
    command = [sys.executable, "-m", "addercore.authors", str(tmp_path / "mindspore.ckpt"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'mindspore.ckpt'} is no file of torch.save.\n"
    assert not (tmp_path / "out").exists()
