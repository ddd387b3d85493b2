"""Binary layers against their definitions: bits, scaling factors, straight-through gradients; networks made of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

import addercore
from addercore import Binary2d, BinaryLinear, build, fit
from addercore.arch import BINARY, network
from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Linear, MaxPool, ReLU, Sequential
from addercore.arch.methods import realised
from addercore.arch.networks import Network
from addercore.config import TrainConfig
from addercore.nn import FusingSequential
from addercore.nn.bits import packed_dot, packed_sums

pytestmark = pytest.mark.bits

GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": 3, "groups": 2},
]


def layer(binary: Any, **geometry: Any) -> Binary2d:
    """6 → 4 channels in float64, some weights beyond ±1, where the straight-through gradient ends."""
    made = Binary2d(6, 4, binary=binary, **geometry).double()
    with torch.no_grad():
        made.weight.mul_(8)
    assert 0 < int((made.weight.abs() > 1).sum()) < made.weight.numel()
    return made


def image() -> Tensor:
    return torch.randn(3, 6, 7, 9, dtype=torch.float64)


def signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def channels(per_filter: Tensor) -> Tensor:
    return per_filter.view(-1, 1, 1)


def means(made: Binary2d, x: Tensor) -> Tensor:
    """K of eq. 11 for every filter, tap by tap: the mean of |x| over what the filter sees, padding counted."""
    columns = nnf.unfold(x.abs(), made.kernel_size, made.dilation, made.padding, made.stride)  # type: ignore[arg-type]
    seen = columns.unflatten(1, (made.groups, -1)).mean(2)  # (N, groups, L)
    like = made(x)
    return seen.repeat_interleave(made.out_channels // made.groups, 1).view_as(like)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sums_are_those_of_xnor_and_popcount(geometry: dict[str, Any]) -> None:
    x = image()
    bnn, xnor = layer("bnn", **geometry), layer("xnor", **geometry)
    assert torch.equal(bnn(x), packed_sums(bnn, x).double() * bnn.alpha())
    sums = packed_sums(xnor, x).double()
    torch.testing.assert_close(xnor(x), sums * channels(xnor.alpha()) * means(xnor, x), rtol=1e-13, atol=0)
    unit = layer("xnor", **geometry | {"padding": 0})
    with torch.no_grad():
        unit.weight.copy_(signs(unit.weight))  # α = 1, and K = 1 for an image of signs: the sums themselves
    torch.testing.assert_close(unit(signs(x)), packed_sums(unit, x).double(), rtol=1e-15, atol=0)


@pytest.mark.parametrize("binary", ["bnn", "xnor"])
def test_a_linear_layer_sums_as_xnor_and_popcount_do(binary: Any) -> None:
    made, x = BinaryLinear(37, 5, binary=binary).double(), torch.randn(2, 3, 37, dtype=torch.float64)
    size = 1.0 if binary == "bnn" else x.abs().mean(-1, keepdim=True)
    torch.testing.assert_close(made(x), packed_sums(made, x) * made.alpha() * size, rtol=1e-14, atol=0)
    assert packed_sums(made, x).abs().max() > 2


def test_popcounts_are_dot_products_of_whole_numbers() -> None:
    x, weight = torch.randint(-1, 2, (11, 29)), torch.randint(0, 2, (5, 29)) * 2 - 1
    assert torch.equal(packed_dot(x, weight), x @ weight.T)


@pytest.mark.parametrize("binary", BINARY)
def test_weights_are_plus_and_minus_alpha(binary: Any) -> None:
    made = layer(binary, kernel_size=3)
    with torch.no_grad():
        made.weight[0, 0, 0, 0] = 0  # counts as positive: a bit has no third value
    mean = made.weight.abs().mean() if binary == "bnn" else made.weight.abs().mean((1, 2, 3))
    torch.testing.assert_close(made.alpha(), mean.reshape(-1), rtol=1e-14, atol=0)
    for number, one in enumerate(made.binary_weight()):
        alpha = made.alpha()[0 if binary == "bnn" else number]
        assert torch.equal(one.abs(), alpha.expand_as(one))
        assert torch.equal(one > 0, made.weight[number] >= 0)


def test_outputs_are_the_published_formulas() -> None:
    x = image()
    bnn, xnor, bwn = (layer(binary, kernel_size=3, padding=1, stride=2) for binary in BINARY)

    def conv(part: Tensor, weight: Tensor) -> Tensor:
        return nnf.conv2d(part, weight, None, 2, 1)

    torch.testing.assert_close(bnn(x), conv(x.clamp(0, 1).round(), bnn.binary_weight()))
    torch.testing.assert_close(bwn(x), conv(x, bwn.binary_weight()))
    torch.testing.assert_close(xnor(x), conv(signs(x), xnor.binary_weight()) * means(xnor, x))


def gradients(made: Binary2d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(∂Y, ∂X, ∂W) for a random ∂Y."""
    x = x.clone().requires_grad_()
    y = made(x)
    grad = torch.randn_like(y)
    along_x, along_weight = torch.autograd.grad(y, (x, made.weight), grad)
    return grad, along_x, along_weight


def test_dorefa_gradients_pass_straight_through() -> None:
    made, x = layer("bnn", kernel_size=3, padding=1, stride=2), image()
    grad, along_x, along_weight = gradients(made, x)
    weight = made.weight.detach()
    back = conv2d_input(x.shape, weight.abs().mean() * signs(weight), grad, 2, 1)
    torch.testing.assert_close(along_x, back * ((x >= 0) & (x <= 1)))
    torch.testing.assert_close(along_weight, conv2d_weight(x.clamp(0, 1).round(), weight.shape, grad, 2, 1))


def test_gradients_of_binary_weights_are_those_of_both_factors() -> None:
    made, x = layer("bwn", kernel_size=3, padding=1, stride=2), image()
    grad, along_x, along_weight = gradients(made, x)
    weight = made.weight.detach()
    alpha = weight.abs().mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(along_x, conv2d_input(x.shape, alpha * signs(weight), grad, 2, 1))
    outer = conv2d_weight(x, weight.shape, grad, 2, 1)  # ∂W_b
    by_alpha = (outer * signs(weight)).sum((1, 2, 3), keepdim=True) * signs(weight) / weight[0].numel()
    torch.testing.assert_close(along_weight, outer * alpha * (weight.abs() <= 1) + by_alpha)


def test_xnor_net_s_gradients_are_those_of_all_factors() -> None:
    made, x = layer("xnor", kernel_size=3, padding=1, stride=2), image()
    grad, along_x, along_weight = gradients(made, x)
    weight = made.weight.detach()
    alpha = weight.abs().mean((1, 2, 3))
    size = nnf.avg_pool2d(x.abs().mean(1, keepdim=True), 3, 2, 1)  # K
    sums = nnf.conv2d(signs(x), signs(weight), None, 2, 1)
    inner = grad * channels(alpha) * size  # ∂sums
    outer = conv2d_weight(signs(x), weight.shape, inner, 2, 1)
    by_alpha = (grad * size * sums).sum((0, 2, 3)).view(-1, 1, 1, 1) * signs(weight) / weight[0].numel()
    torch.testing.assert_close(along_weight, outer * (weight.abs() <= 1) + by_alpha)
    by_sign = conv2d_input(x.shape, signs(weight), inner, 2, 1) * (x.abs() <= 1)
    window = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    plane = (x.shape[0], 1, *x.shape[2:])
    by_means = conv2d_input(plane, window, (grad * channels(alpha) * sums).sum(1, keepdim=True), 2, 1)
    torch.testing.assert_close(along_x, by_sign + by_means * x.sign() / x.shape[1])


@pytest.mark.parametrize("binary", BINARY)
def test_autocast_takes_binary_layers_as_convolutions(binary: Any) -> None:
    made, x = Binary2d(6, 4, 3, padding=1, binary=binary), image().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        first, second = made(x), made(x)
    assert first.dtype == torch.bfloat16
    assert torch.equal(first, second)
    torch.testing.assert_close(first.float(), made(x), rtol=0.02, atol=0.02)
    first.float().square().sum().backward()
    assert made.weight.grad is not None
    assert made.weight.grad.dtype == torch.float32
    assert bool(made.weight.grad.isfinite().all())
    half = Binary2d(6, 4, 3, binary=binary).bfloat16()
    assert half(x.detach().bfloat16()).dtype == torch.bfloat16


def test_nan_stays_visible() -> None:
    for binary in BINARY:
        made, x = layer(binary, kernel_size=3), image()
        x[0, 0, 0, 0] = torch.nan
        assert bool(made(x).isnan().any())


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match=r"'ternary'.*bnn, xnor, bwn"):
        BinaryLinear(3, 4, binary="ternary")  # type: ignore[arg-type]


def names(net: Network) -> list[str]:
    return [placed.name for placed in net.layers()]


LENET = network("lenet5_bn", (1, 32, 32), 10)


def test_signs_are_taken_of_normalised_values_that_no_relu_or_pool_has_biased() -> None:
    whole = ["conv1", "pool1", "bn1", "conv2", "pool2", "bn2", "conv3", "bn3", "flatten", "fc1", "bn4"]
    assert names(realised(LENET, "xnor", "conv")) == [*whole, "relu4", "fc2", "bn5"]
    assert names(realised(LENET, "xnor", "adder")) == [*whole, "fc2", "bn5"]
    for method in ("adder", "conv", "bnn", "bwn"):
        assert realised(LENET, method, "conv") is LENET
    kept = names(realised(network("resnet18", (3, 64, 64), 10), "xnor", "conv"))
    assert kept[:3] == ["conv", "max_pool", "bn"]
    assert [name for name in kept if "relu" in name] == ["stage4.relu2"]  # in front of the convolutional classifier
    mean = (
        Conv("conv", 1, 4, (3, 3), role="first"),
        BatchNorm("bn", 4),
        ReLU("relu"),
        AvgPool("mean"),
        Flatten("flat"),
    )
    net = Network("mean", (1, 8, 8), 2, Sequential("", (*mean, Linear("fc", 4, 2, role="last"))))
    assert "relu" in names(realised(net, "xnor", "conv"))
    assert "relu" not in names(realised(net, "xnor", "adder"))
    pooled = Sequential("", (BatchNorm("bn", 1), MaxPool("one", 2), MaxPool("two", 2), Conv("conv", 1, 2, (1, 1))))
    assert names(realised(Network("pools", (1, 8, 8), 2, pooled), "xnor", "conv"))[:3] == ["one", "two", "bn"]


@pytest.mark.parametrize("binary", BINARY)
def test_ends_are_kept_or_converted(binary: str) -> None:
    kept, converted = (build(LENET, binary, ends, seed=0) for ends in ("conv", "adder"))
    for module, kinds in ((kept, (nn.Conv2d, nn.Linear)), (converted, (Binary2d, BinaryLinear))):
        assert tuple(type(module.get_submodule(name)) for name in ("conv1", "fc2")) == kinds
        inner: Any = module.get_submodule("conv2")
        assert (type(inner), inner.binary) == (Binary2d, binary)


@pytest.mark.parametrize("binary", BINARY)
def test_nothing_is_fused_with_a_binary_layer(binary: Any) -> None:
    parts = [Binary2d(6, 4, 3, binary=binary), nn.BatchNorm2d(4), nn.ReLU()]
    x = image().float()
    y = x
    for part in parts:
        y = part(y)
    assert torch.equal(FusingSequential(*parts)(x), y)


@pytest.mark.parametrize("binary", BINARY)
def test_binary_networks_learn_and_are_stored(binary: str, tmp_path: Path, recorder: Any) -> None:
    config = TrainConfig.from_dict(
        {"model": {"arch": "lenet5_bn", "method": binary}, "dataset": {"name": "digits"}, "epochs": 2}
    )
    assert config.optimizer.adaptive_lr == "none"
    seen = recorder()
    result = fit(config, workdir=tmp_path, device="cpu", threads=1, callbacks=seen)
    assert {"grad_norm/conv1", "grad_norm/conv2", "grad_norm/fc1"} <= {point.name for point in seen.points}
    assert result.metrics["val/accuracy"] > 0.6
    stored = addercore.load(tmp_path / "model.safetensors")
    assert stored.manifest["network"]["method"] == binary
    assert isinstance(stored.module.get_submodule("conv2"), Binary2d)
    assert sum(stored.predict(torch.rand(32, 32).numpy()).probabilities.values()) == pytest.approx(1)
