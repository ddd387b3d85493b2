"""Adder, batch normalisation, ReLU, residual as one call: the numbers of the separate modules, and fewer calls."""

import copy
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from addercore import Adder2d, AdderLinear
from addercore.nn import FusingSequential, ResidualBlock
from tests.support.adder import BACKENDS, DOUBLE

pytestmark = pytest.mark.bits

FUSED = {"forward_affine", "forward_moments", "normalize", "normalize_backward"}


def norm(channels: int, **options: Any) -> nn.Module:
    layer = nn.BatchNorm2d(channels, **options)
    if layer.affine:
        nn.init.uniform_(layer.weight, 0.5, 2)
        nn.init.normal_(layer.bias)
    return layer


def plain(**options: Any) -> nn.Module:
    return FusingSequential(Adder2d(3, 5, (3, 2), 2, 1), norm(5, **options), nn.ReLU())


def no_relu(**options: Any) -> nn.Module:
    return FusingSequential(Adder2d(3, 6, 3, groups=3, dilation=2, gradient="sign"), norm(6, **options))


def pooled(**options: Any) -> nn.Module:
    """Pooling with and without a ReLU in front of it, rows and columns left over, and one that overlaps."""
    first = (Adder2d(3, 5, 3, padding=1), norm(5, **options), nn.ReLU(), nn.MaxPool2d(2))
    second = (Adder2d(5, 4, 2, padding=1), norm(4, **options), nn.MaxPool2d((2, 2), 2), nn.MaxPool2d(2, 1))
    return FusingSequential(*first, *second)


def linear(**options: Any) -> nn.Module:
    layers = (nn.Flatten(), AdderLinear(210, 7), nn.BatchNorm1d(7, **options), nn.ReLU(), AdderLinear(7, 2))
    return FusingSequential(*layers, nn.BatchNorm1d(2, **options))


def residual(**options: Any) -> nn.Module:
    """Two blocks, one with a shortcut of another shape, with the ReLU behind them as in a ResNet."""
    first = FusingSequential(
        Adder2d(3, 4, 3, 2, 1), norm(4, **options), nn.ReLU(), Adder2d(4, 4, 3, padding=1), norm(4, **options)
    )
    shortcut = FusingSequential(Adder2d(3, 4, 1, 2), norm(4, **options))
    second = FusingSequential(Adder2d(4, 4, 3, padding=1), norm(4, **options))
    blocks = ResidualBlock(("body", first), ("shortcut", shortcut)), nn.ReLU(), ResidualBlock(("body", second), None)
    return FusingSequential(*blocks)  # and none behind the last


NETWORKS: list[Callable[..., nn.Module]] = [plain, no_relu, pooled, linear, residual]


def separately(module: nn.Module, x: Tensor) -> Tensor:
    """The same modules, one after the other."""
    match module:
        case nn.Sequential():
            for child in module:
                x = separately(child, x)
            return x
        case ResidualBlock():
            parts = dict(module.named_children())
            return separately(parts["body"], x) + (separately(parts["shortcut"], x) if "shortcut" in parts else x)
        case _:
            result: Tensor = module(x)
            return result


class Seen(TorchDispatchMode):
    """Counts the operators that run, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func.__name__.partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def use(module: nn.Module, backend: str) -> nn.Module:
    for part in module.modules():
        if isinstance(part, Adder2d | AdderLinear):
            part.backend = backend
    return module


def assert_equal(a: nn.Module, b: nn.Module, rounding: float) -> None:
    """Parameters, their gradients, and running statistics."""
    for (name, one), (_, other) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        for what, u, v in (("gradient", one.grad, other.grad), ("value", one, other)):
            difference = float((u - v).detach().abs().max())
            assert difference <= rounding * max(1.0, float(v.detach().abs().max())), (name, what, difference)
    for (name, one), (_, other) in zip(a.named_buffers(), b.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding, msg=lambda text, name=name: name + text)


OPTIONS = [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 0.1, "momentum": 0.9}]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("backend", "kind"), [*((n, torch.float64) for n in DOUBLE), *((n, torch.float32) for n in BACKENDS)]
)
def test_three_training_steps_and_evaluation(
    make: Callable[..., nn.Module], options: dict[str, Any], backend: str, kind: torch.dtype
) -> None:
    torch.manual_seed(0)
    fused = use(make(**options), backend).to(kind)
    apart = copy.deepcopy(fused)
    rounding = 1e-10 if kind == torch.float64 else 2e-4  # gradients of a few hundred terms, through two normalisations
    for _ in range(3):
        x = torch.randn(5, 3, 10, 7, dtype=kind, requires_grad=True)
        again = x.detach().clone().requires_grad_()
        with Seen() as seen:
            y = fused(x)
        assert not seen.calls["native_batch_norm"] + seen.calls["forward"] + seen.calls["cudnn_batch_norm"]
        expected = separately(apart, again)
        assert (y - expected).detach().abs().max() <= rounding
        grad = torch.randn_like(expected)
        y.backward(grad)
        expected.backward(grad)
        assert x.grad is not None
        assert (x.grad - again.grad).abs().max() <= rounding * max(1, x.grad.abs().max())
        assert_equal(fused, apart, rounding)
        for module in (fused, apart):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter -= 0.01 * parameter.grad
            module.zero_grad()
    fused.eval(), apart.eval()
    with torch.no_grad():
        assert (fused(x) - separately(apart, x)).abs().max() <= rounding


@pytest.mark.parametrize("make", NETWORKS)
def test_frozen_statistics_still_give_gradients(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    fused = make().double()
    fused(torch.randn(5, 3, 10, 7, dtype=torch.float64))
    for part in fused.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.eval()
    apart = copy.deepcopy(fused)
    x = torch.randn(5, 3, 10, 7, dtype=torch.float64)
    y, expected = fused(x), separately(apart, x)
    grad = torch.randn_like(y)
    y.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(y, expected)
    assert_equal(fused, apart, 1e-10)


def test_frozen_filters_and_inputs_cost_no_gradient() -> None:
    fused = plain()
    fused[0].weight.requires_grad_(False)
    with Seen() as seen:
        fused(torch.randn(4, 3, 10, 7)).sum().backward()
    assert seen.calls["normalize_backward"] == 1
    assert not seen.calls["grad_weight"] + seen.calls["grad_input"]
    assert fused[1].weight.grad is not None


# --- what keeps the modules apart


def listened_to(network: Any) -> list[Any]:
    heard: list[Any] = []
    for part in (network[0], network[1], network[2]):
        part.register_forward_hook(lambda _m, args, out: heard.append((args[0], out)))
    return heard


def test_a_hook_sees_its_module_s_own_input_and_output() -> None:
    torch.manual_seed(0)
    network = plain().eval()
    x = torch.randn(4, 3, 10, 7)
    with torch.no_grad():
        expected = network(x)
        heard = listened_to(network)
        y = network(x)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert [a is b for (_, a), (b, _) in itertools.pairwise(heard)] == [True, True]
    assert torch.equal(heard[0][1], network[0](x))


@pytest.mark.parametrize("at", range(3))
def test_any_module_with_a_hook_is_called(at: int) -> None:
    network, calls = plain(), []
    network[at].register_forward_pre_hook(lambda _m, args: calls.append(args[0].shape))
    network(torch.randn(4, 3, 10, 7)).sum().backward()
    assert len(calls) == 1
    handle = nn.modules.module.register_module_forward_hook(lambda m, _i, _o: calls.append(type(m)))
    try:
        plain()(torch.randn(4, 3, 10, 7))
    finally:
        handle.remove()
    assert calls[1:] == [Adder2d, nn.BatchNorm2d, nn.ReLU, FusingSequential]


class OtherNorm(nn.BatchNorm2d):
    """Does something else with its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x)


def half(network: nn.Module) -> nn.Module:
    return network.bfloat16()


def mixed(network: Any) -> nn.Module:
    network[1].double()
    return network  # type: ignore[no-any-return]


def other(network: Any) -> nn.Module:
    network[1] = OtherNorm(5)
    return network  # type: ignore[no-any-return]


def group(network: Any) -> nn.Module:
    network[1] = nn.GroupNorm(1, 5)
    return network  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", [half, other, group])
@pytest.mark.parametrize("training", [False, True])
def test_other_norms_and_types_are_called_by_themselves(
    change: Callable[[nn.Module], nn.Module], training: bool
) -> None:
    torch.manual_seed(0)
    network = change(plain()).train(training)
    x = torch.randn(4, 3, 10, 7, dtype=next(network.parameters()).dtype)
    apart = copy.deepcopy(network)
    with torch.no_grad(), Seen() as seen:
        y = network(x)
    assert not FUSED & seen.calls.keys()
    assert seen.calls["forward"] == 1
    assert torch.equal(y, separately(apart, x))


def test_what_torch_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        plain()(torch.randn(1, 3, 1, 1))
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        linear()(torch.randn(1, 3, 10, 7))
    assert plain().eval()(torch.randn(1, 3, 1, 1)).shape == (1, 5, 1, 1)
    assert plain().eval()(torch.randn(0, 3, 4, 4)).shape == (0, 5, 2, 3)
    with pytest.raises(ValueError, match=r"\(2, 4, 5, 5\).*do not fit"):
        plain()(torch.randn(2, 4, 5, 5))
    with pytest.raises(RuntimeError, match="dtype"):
        mixed(plain())(torch.randn(2, 3, 5, 5))
    wrong = ResidualBlock(("body", FusingSequential(Adder2d(3, 4, 1), norm(4))), None)
    with pytest.raises(RuntimeError, match="size of tensor"):
        wrong(torch.randn(2, 3, 5, 5))


@pytest.mark.parametrize("training", [False, True])
def test_autocast(training: bool) -> None:
    """A convolution hands on bfloat16; the adder layer and its normalisation compute in float32, fused or not."""
    torch.manual_seed(0)
    block = ResidualBlock(("body", FusingSequential(Adder2d(3, 3, 1), norm(3))), None)  # adds a bfloat16 to a float32
    network = FusingSequential(nn.Conv2d(3, 3, 1), block, nn.ReLU(), residual()).train(training)
    apart = copy.deepcopy(network)
    x = torch.randn(4, 3, 10, 7)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training), Seen() as seen:
        y = network(x)
    assert seen.calls["forward_moments" if training else "forward_affine"] == 5
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        expected = separately(apart, x)
    assert y.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    if training:
        grad = torch.randn_like(y)
        y.backward(grad)
        expected.backward(grad)
        torch.testing.assert_close(network[0].weight.grad, apart[0].weight.grad, rtol=0.05, atol=0.05)


# --- how many calls


def kernels(run: Callable[[], Any]) -> Counter[str]:
    """Operators of torch and of ours that `run` calls, by torch's profiler, which sees the backward's thread too."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    return Counter({event.key.partition("::")[2]: event.count for event in seen.key_averages() if "::" in event.key})


PASSES = ("native_batch_norm", "batch_norm", "relu", "threshold_backward", "var_mean", "mean", "clamp_min")


def test_evaluation_is_one_call_for_each_layer_with_all_that_follows_it() -> None:
    network = residual().eval()
    x = torch.randn(4, 3, 10, 7)
    with torch.inference_mode():
        found = kernels(lambda: network(x))
    assert found["forward_affine"] == 4
    assert not any(found[name] for name in (*PASSES, "forward", "forward_moments", "normalize"))


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in ("portable", "reference")])
def test_training_has_no_pass_for_statistics(backend: str) -> None:
    network = use(residual(), backend)
    x = torch.randn(4, 3, 10, 7, requires_grad=True)
    found = kernels(lambda: network(x).backward(torch.ones(4, 4, 5, 4)))
    once = ("forward_moments", "normalize", "normalize_backward", "grad_input", "grad_weight")
    assert {name: found[name] for name in once} == dict.fromkeys(once, 4)
    assert not any(found[name] for name in (*PASSES, "forward"))


def test_pooling_joins_the_training_s_call_and_no_other() -> None:
    network = pooled()
    x = torch.randn(4, 3, 10, 7, requires_grad=True)
    found = kernels(lambda: network(x).sum().backward())
    assert (found["normalize_pool"], found["normalize_pool_backward"], found["normalize"]) == (2, 2, 0)
    assert found["max_pool2d_with_indices"] == 1, "the one whose windows overlap"
    with torch.inference_mode():
        assert not kernels(lambda: network.eval()(x))["normalize_pool"]
    heard: list[torch.Size] = []
    network.train()[3].register_forward_hook(lambda _m, _i, out: heard.append(out.shape))
    assert kernels(lambda: network(x))["normalize_pool"] == 1
    assert heard == [torch.Size((4, 5, 5, 3))]
