"""A network's evaluation by a plan: the bits of its modules, whatever may be in a network or change in it."""

import copy
import ctypes
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import addercore
from addercore import Adder2d
from addercore.arch import ARCHS, METHODS, Network, network
from addercore.networks import build
from addercore.nn import FusingSequential, ResidualBlock
from addercore.nn.plan import Planned
from addercore.ops import c, registry
from addercore.ops.c import program
from addercore.ops.c.backend import Shape
from tests.support.adder import COMPILED

pytestmark = [pytest.mark.bits, pytest.mark.skipif(c.missing() is not None, reason="plans are of C kernels")]

SHAPES = {"alexnet": (3, 63, 63), "resnet18": (3, 48, 48), "resnet50": (3, 40, 40), "resnet50_v1.5": (3, 40, 40)}
"""Of images for the large networks; 32×32 for the others."""
LARGE = (*SHAPES, "vgg_small", "mobilenet_v2", "resnet32")
OWN: list[dict[str, Any]] = [
    {"kind": "conv", "filters": 6, "kernel": 5, "padding": 1, "stride": 3},
    {"kind": "residual", "layers": [{"kind": "conv", "filters": 6}, {"kind": "conv", "filters": 6, "relu": False}]},
    {"kind": "residual", "layers": [{"kind": "depthwise"}, {"kind": "conv", "filters": 8, "groups": 2}]},
    {"kind": "max_pool", "size": 3, "stride": 2},
    {"kind": "conv", "filters": 4, "kernel": 1, "relu": False},
    {"kind": "max_pool", "size": 2},
    {"kind": "linear", "features": 7},
    {"kind": "linear", "features": 5, "relu": False},
]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.manual_seed(0)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def same_bits(found: Tensor, want: Tensor) -> None:
    """Equal numbers in all bits; one NaN is as good as another."""
    assert found.dtype == want.dtype
    assert torch.equal(found.isnan(), want.isnan())
    assert torch.equal(found.nan_to_num(0).signbit(), want.nan_to_num(0).signbit())
    torch.testing.assert_close(found, want, rtol=0, atol=0, equal_nan=True)


@torch.inference_mode(False)
def settled(module: nn.Module) -> nn.Module:
    """In evaluation, with statistics and scales as after a training: outputs on both sides of zero."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                norm.running_mean.uniform_(-60, -40)  # type: ignore[union-attr]
                norm.running_var.uniform_(50, 400)  # type: ignore[union-attr]
                norm.weight.uniform_(-0.5, 2)
                norm.bias.normal_()
    return module.eval()


def named(arch: str) -> Network:
    if arch == "custom":
        return network(arch, (3, 32, 32), 10, OWN)
    return network(arch, SHAPES.get(arch, (1 if arch.startswith("lenet") else 3, 32, 32)), 10)


@torch.inference_mode(False)
def made(arch: str, method: str = "adder", first_last: str = "adder", backend: str | None = None) -> nn.Module:
    return settled(build(named(arch), method, first_last, backend=backend, seed=0))


def lenet() -> tuple[nn.Module, Tensor]:
    return made("lenet5_bn"), torch.randn(4, 1, 32, 32)


def check(planned: Planned, x: Tensor) -> None:
    """Twice: making a plan and running it are two things."""
    want = planned.module(x)
    for _ in range(2):
        same_bits(planned(x), want)


@pytest.mark.parametrize("first_last", ["adder", "conv"])
@pytest.mark.parametrize("arch", [*ARCHS, "custom"])
def test_a_plan_has_the_bits_of_the_modules(arch: str, first_last: str) -> None:
    module = made(arch, first_last=first_last)
    planned, shape = Planned(module), named(arch).input_shape
    for count, threads in ((1, 2), (3, 1)) if arch in LARGE else ((1, 1), (3, 2), (7, 2), (2, 3), (1, 2)):
        torch.set_num_threads(threads)
        check(planned, torch.randn(count, *shape))
    names = {name for name, one in module.named_modules() if isinstance(one, Adder2d | nn.MaxPool2d)}
    assert planned.in_torch is not None
    assert not names & set(planned.in_torch) - {"max_pool"}, "every adder layer is in the plan"


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("arch", ["lenet5_bn", "custom"])
def test_on_every_instruction_set_and_in_parts_of_a_batch(
    arch: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(program, "CACHE", 1)
    planned, shape = Planned(made(arch, backend=backend)), named(arch).input_shape
    for count, threads in ((5, 2), (4, 1), (11, 3)):
        torch.set_num_threads(threads)
        check(planned, torch.randn(count, *shape))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "adder"])
def test_networks_without_adders_are_called_as_they_are(method: str) -> None:
    planned = Planned(made("lenet5_bn", method, "conv"))
    check(planned, torch.randn(2, 1, 32, 32))
    assert planned.in_torch is None


def test_weights_made_in_inference_mode_have_no_versions_and_no_plan() -> None:
    module = build(named("lenet5_bn"), seed=0).eval()
    planned = Planned(module)
    check(planned, torch.randn(2, 1, 32, 32))
    assert planned.in_torch is None


def test_what_is_left_to_torch_is_named() -> None:
    planned = Planned(made("resnet20", first_last="conv"))
    planned(torch.randn(2, 3, 32, 32))
    assert planned.in_torch == ("conv", "bn", "relu", "pool", "classifier", "classifier_bn")


def test_nan_and_infinity_come_through() -> None:
    module, x = lenet()
    x[0, 0, 3, 3], x[1, 0, 5, 20] = torch.nan, torch.inf
    check(Planned(module), x)


def weight(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(f"{name}.weight")


def forget(module: nn.Module, name: str) -> None:
    """Takes a normalisation's statistics away; it then uses those of each batch."""
    norm = module.get_submodule(name)
    norm.register_buffer("running_mean", None)
    norm.register_buffer("running_var", None)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "a filter in place": lambda m: weight(m, "conv2").add_(0.25),
    "another parameter": lambda m: setattr(m.get_submodule("fc1"), "weight", nn.Parameter(torch.randn(84, 120))),
    "another tensor of a parameter": lambda m: setattr(weight(m, "fc1"), "data", torch.randn(84, 120)),
    "a running mean": lambda m: m.get_buffer("bn2.running_mean").add_(3),
    "epsilon": lambda m: setattr(m.get_submodule("bn2"), "eps", 30.0),
    "the power": lambda m: setattr(m.get_submodule("conv2"), "p", 1.5),
    "a module": lambda m: setattr(m, "relu3", nn.Hardtanh()),
    "a hook": lambda m: m.get_submodule("conv2").register_forward_hook(lambda *given: given[2] * 2),
    "a normalisation that trains": lambda m: m.get_submodule("bn4").train(),
    "statistics of the batch": lambda m: forget(m, "bn3"),
    "state": lambda m: m.load_state_dict(settled(build(named("lenet5_bn"), seed=7)).state_dict()),
    "assigned state": lambda m: m.load_state_dict(settled(build(named("lenet5_bn"), seed=7)).state_dict(), assign=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_gets_another_plan(change: str) -> None:
    with torch.inference_mode(False), torch.no_grad():
        module, x = lenet()
        planned = Planned(module)
        before = planned(x).clone()
        CHANGES[change](module)
        twin = copy.deepcopy(module)  # a normalisation that trains changes at each call
        for _ in range(3):
            found = planned(x)
            same_bits(found, twin(x))
        assert not torch.equal(found, before), "the change shows"


def test_a_hook_sees_its_module_and_is_called_once_a_call() -> None:
    module, x = lenet()
    seen: list[Tensor] = []
    module.get_submodule("conv2").register_forward_hook(lambda *given: seen.append(given[2]))
    planned = Planned(module)
    for calls in (1, 2):
        planned(x)
        assert len(seen) == calls
    assert planned.in_torch is not None
    assert "conv2" in planned.in_torch


def test_a_wanted_gradient_autocast_training_and_float64_are_the_modules_own() -> None:
    with torch.inference_mode(False):
        module, x = lenet()
        planned = Planned(module)
        assert planned(x).requires_grad
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                same_bits(planned(x), module(x))
            module.train()
            assert planned(x).shape == (4, 10)
            module.eval().double()
            same_bits(planned(x.double()), module(x.double()))
    assert planned.in_torch is None


def test_other_backends_are_the_modules_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = lenet()
    planned = Planned(module)
    check(planned, x)
    assert planned.in_torch == ()
    monkeypatch.setenv(registry.ENVIRONMENT, "portable")
    same_bits(planned(x), module(x))
    portable = Planned(made("lenet5_bn", backend="portable"))
    check(portable, x)
    assert portable.in_torch is None


def test_images_that_do_not_fit_get_the_modules_error() -> None:
    module, _ = lenet()
    planned = Planned(module)
    for shape in ((2, 3, 32, 32), (2, 1, 8, 8)):
        with pytest.raises(ValueError, match="input") as theirs:
            module(torch.randn(shape))
        with pytest.raises(ValueError, match="input") as ours:
            planned(torch.randn(shape))
        assert str(ours.value) == str(theirs.value)
    assert planned(torch.randn(0, 1, 32, 32)).shape == (0, 10)


def test_strided_images_and_images_of_another_size() -> None:
    planned = Planned(made("resnet20"))
    check(planned, torch.randn(2, 32, 32, 3).permute(0, 3, 1, 2))
    check(planned, torch.randn(2, 3, 40, 36))


def test_unknown_blocks_are_left_to_torch_as_a_whole() -> None:
    with torch.inference_mode(False):
        module = strange()
    planned = Planned(module)
    check(planned, torch.randn(2, 3, 9, 9))
    assert planned.in_torch == ("2",)


def strange() -> nn.Module:
    body = FusingSequential(Adder2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout())
    block = ResidualBlock(("body", body), None)
    return settled(FusingSequential(Adder2d(3, 3, 1), nn.BatchNorm2d(3), block, nn.ReLU(), nn.MaxPool2d(3, 1, 1)))


def test_copies_and_pickles_have_plans_of_their_own(digits_model: Path) -> None:
    with torch.inference_mode(False):
        model = addercore.load(digits_model)
        others = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    x = torch.randn(2, *model.network.input_shape)
    want = model.scores(x)
    for other in others:
        same_bits(other.scores(x), want)
        with torch.inference_mode(False), torch.no_grad():
            weight(other.module, "conv1").add_(1)
        assert not torch.equal(other.scores(x), want)
    same_bits(model.scores(x), want)
    model.module = other.module
    same_bits(model.scores(x), other.module(x))


def test_several_threads_may_call_at_once() -> None:
    module, _ = lenet()
    planned, images = Planned(module), torch.randn(8, 3, 1, 32, 32)
    want = [module(x) for x in images]
    wrong: list[int] = []

    def call(at: int) -> None:
        with torch.inference_mode():
            for _ in range(40):
                if not torch.equal(planned(images[at]), want[at]):
                    wrong.append(at)

    workers = [threading.Thread(target=call, args=(at,)) for at in range(len(images))]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert not wrong


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 4, 2), (2, 1, 1), (7, 3, 0)])
def test_max_pooling_has_torchs_bits(backend: str, window: tuple[int, int, int]) -> None:
    size, stride, padding = window
    with torch.inference_mode(False), torch.no_grad():
        module = FusingSequential(Adder2d(2, 2, 1, backend=backend), nn.MaxPool2d(size, stride, padding)).eval()
        weight(module, "0").zero_()
    x = torch.randint(-2, 3, (3, 2, 17, 35)).float()
    x[0, 0, 4, 4], x[1, 1] = torch.nan, -torch.inf
    planned = Planned(module)
    check(planned, x)
    assert planned.in_torch == ()


def test_the_structures_are_those_of_the_header() -> None:
    """A step is 1 + 16 + 3 + 3 + 1 numbers and pointers of 8 bytes."""
    assert ctypes.sizeof(Shape) == 16 * 8
    assert ctypes.sizeof(program._Step) == 24 * 8
    assert ctypes.sizeof(program._Memory) == 6 * 8
