"""Distillation by kernels, after PKKD, against its equations, and with a teacher that trains alongside."""

from pathlib import Path
from typing import Any

import pytest
import torch

from addercore import build, fit
from addercore.arch import network
from addercore.config import InvalidConfig, TrainConfig
from addercore.nn import AdderLayer
from addercore.train import checkpoint
from addercore.train.kernels import Kernels, squared_distance


def filters(layer: torch.nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight


SPEC: dict[str, Any] = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


@pytest.mark.parametrize("layer", [torch.nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=False), torch.nn.Linear(5, 3, False)])
def test_squared_distances_of_ordinary_layers(layer: Any) -> None:
    layer = layer.double()
    x = torch.randn(2, 4, 5, 6).double() if isinstance(layer, torch.nn.Conv2d) else torch.randn(7, 5).double()
    found = squared_distance(layer, x, layer(x))
    if isinstance(layer, torch.nn.Conv2d):
        parts = [
            (torch.nn.functional.unfold(x[:, 2 * g : 2 * g + 2], 3, 1, 1, 2)[:, None]
             - layer.weight[3 * g : 3 * g + 3].flatten(1)[None, :, :, None]).square().sum(2)
            for g in (0, 1)
        ]  # fmt: skip
        exact = torch.cat(parts, 1).view(found.shape)
    else:
        exact = (x[:, None] - layer.weight).square().sum(-1)
    assert torch.allclose(found, exact)


def test_the_loss_is_that_of_the_equations() -> None:
    net = network("lenet5_bn", (1, 32, 32), 10)
    student, teacher = build(net, seed=1), build(net, "conv", seed=2)
    kernels = Kernels(student, teacher, 3)
    seen: dict[str, tuple[Any, Any]] = {}
    for name, layer in [*student.named_modules(), *teacher.named_modules()]:
        if name in kernels.names:
            kind = "a" if isinstance(layer, AdderLayer) else "c"
            layer.register_forward_hook(lambda _, i, o, key=name + kind: seen.update({key: (i[0], o)}))
    x = torch.randn(4, 1, 32, 32)
    student(x)
    teacher(x)
    with torch.no_grad():
        kernels.widths[1] = 0.5
        kernels.its_widths[1] = -0.3
    found = kernels.loss()
    total = 0.0
    modules, its = dict(student.named_modules()), dict(teacher.named_modules())
    for at, name in enumerate(kernels.names):
        taps = float(filters(modules[name])[0].numel())
        h = torch.exp(-kernels.widths[at].exp() * -seen[name + "a"][1] / taps)
        far = squared_distance(its[name], *seen[name + "c"]) / taps
        g = torch.exp(-kernels.its_widths[at].exp() * far)
        h, g = (v if v.dim() == 4 else v[:, :, None, None] for v in (h, g))
        a, c = (filters(m[at])[:, :, 0, 0] for m in (kernels.maps, kernels.its_maps))
        mapped = (torch.einsum("nchw,dc->ndhw", values, by) for values, by in ((h, a), (g, c)))
        total += float((next(mapped) - next(mapped)).square().mean().detach())
    assert float(found.detach()) == pytest.approx(total, rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert kernels.widths.grad is not None
    assert all(layer.weight.grad is None for layer in its.values() if isinstance(layer, torch.nn.Conv2d))


def test_the_teacher_trains_alongside_on_the_labels_alone(tmp_path: Path, config: Any) -> None:
    states = {}
    for weight in (0.1, 0.9):
        spec = config(epochs=1, batch_size=400, distill={"kind": "pkkd", "weight": weight})
        fit(spec, workdir=tmp_path / str(weight), device="cpu", threads=1)
        states[weight] = checkpoint.load(tmp_path / str(weight) / "checkpoints").state
    first, second = (state["companion"]["teacher"]["module"] for state in states.values())
    assert all(torch.equal(first[name], second[name]) for name in first)
    untouched = build(spec.network(), "conv", seed=spec.seed).state_dict()
    assert not torch.equal(first["conv1.weight"], untouched["conv1.weight"])
    assert not torch.equal(states[0.1]["model"]["conv1.weight"], states[0.9]["model"]["conv1.weight"])


@pytest.mark.parametrize(
    ("distill", "reason"),
    [
        ({"kind": "pkkd", "teacher": "model_1"}, "distill.teacher must be null for the kind pkkd"),
        ({"kind": "kernels"}, "distill.teacher is required for the kind kernels"),
        ({}, "distill.teacher is required for the kind plain"),
    ],
)
def test_each_kind_says_what_it_needs(distill: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidConfig, match=reason):
        TrainConfig.from_dict(SPEC | {"distill": distill})


def test_kernels_are_those_of_adder_layers() -> None:
    with pytest.raises(InvalidConfig, match=r"distill\.kind compares kernels of adder layers, and the method is conv"):
        TrainConfig.from_dict(SPEC | {"model": {"arch": "lenet5_bn", "method": "conv"}, "distill": {"kind": "pkkd"}})
