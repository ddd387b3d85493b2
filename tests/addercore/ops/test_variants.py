"""The clip of the input gradient and other powers than 1, against the equations in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from addercore import Adder2d, AdderLinear, adder_conv2d, adder_linear
from addercore.nn import FusingSequential
from addercore.ops import Geometry, get, portable
from addercore.ops.reference import input_gradient, power, power_gradients
from addercore.ops.variants import CLIPS
from tests.support.adder import BACKENDS, Layer, layers, worst

pytestmark = pytest.mark.bits

POWERS = (1.0, 1.3, 1.75, 2.0)


def results(layer: Layer, kind: torch.dtype, **options: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, weight, grad = (tensor.to(kind) for tensor in layer.numbers())
    x[..., ::2] = 0.5  # some inputs equal filters: there the sign is 0
    weight.view(-1)[::3] = 0.5
    x.requires_grad_()
    weight.requires_grad_()
    y = adder_conv2d(x, weight, **layer.arguments, **options)  # type: ignore[arg-type]
    torch.autograd.backward(y, grad)
    assert x.grad is not None
    assert weight.grad is not None
    return y.detach(), x.grad, weight.grad


def numbers(layer: Layer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, weight, grad = layer.numbers()
    x[..., ::2] = 0.5
    weight.view(-1)[::3] = 0.5
    return x, weight, grad


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=25)
@given(layer=layers(), sign=st.booleans())
def test_clips_of_every_backend(backend: str, clip: str, layer: Layer, sign: bool) -> None:
    x, weight, grad = numbers(layer)
    gradient = "sign" if sign else "full_precision"
    y, grad_x, grad_weight = results(layer, torch.float32, backend=backend, clip=clip, gradient=gradient)
    exact, plain = input_gradient(grad, x, weight, layer.geometry, clip), get("reference")
    unit = weight.new_ones(weight.shape)
    size = input_gradient(grad.abs(), -x.abs() - 1, weight.abs(), layer.geometry, "none") + 1e-6 * (unit.numel() > 0)
    assert worst(exact, grad_x, size) <= 8
    assert torch.allclose(y.double(), plain.forward(x, weight, layer.geometry), atol=1e-3, rtol=1e-5)
    expected = plain.grad_weight(grad, x, weight, layer.geometry, sign)
    assert torch.allclose(grad_weight.double(), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("p", POWERS[1:])
@pytest.mark.parametrize("clip", CLIPS)
@settings(deadline=None, max_examples=15)
@given(layer=layers(largest=8, channels=5), tiny=st.booleans())
def test_powers(p: float, clip: str, layer: Layer, tiny: bool) -> None:
    x, weight, grad = numbers(layer)
    with pytest.MonkeyPatch.context() as patch:
        if tiny:
            patch.setattr(portable, "TEMPORARY", 50)
            patch.setattr(portable, "COLUMNS", 200)
        y, grad_x, grad_weight = results(layer, torch.float64, clip=clip, p=p)
    for_x, for_weight = power_gradients(grad, x, weight, layer.geometry, p, clip)
    assert torch.allclose(y, power(x, weight, layer.geometry, p), atol=1e-9)
    assert torch.allclose(grad_x, for_x, atol=1e-9)
    assert torch.allclose(grad_weight, for_weight, atol=1e-9)


def test_without_a_clip_a_power_has_its_derivatives() -> None:
    layer = Layer((2, 4, 6, 5), 6, (3, 2), Geometry(padding=(1, 1), stride=(2, 1)))
    x, weight, grad = layer.numbers()
    x.requires_grad_()
    weight.requires_grad_()
    torch.autograd.backward(power(x, weight, layer.geometry, 1.5), grad)
    y = x.detach().clone().requires_grad_()
    other = weight.detach().clone().requires_grad_()
    torch.autograd.backward(adder_conv2d(y, other, **layer.arguments, p=1.5, clip="none"), grad)
    assert x.grad is not None
    assert weight.grad is not None
    assert torch.allclose(y.grad, x.grad)  # type: ignore[arg-type]
    assert torch.allclose(other.grad, weight.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("clip", "p"), [("none", 1.0), ("sign", 1.0), ("hardtanh", 1.5)])
def test_layers_and_their_fused_form_compute_it(clip: str, p: float) -> None:
    torch.manual_seed(0)
    fused = FusingSequential(Adder2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), AdderLinear(20, 4))
    for module in fused:
        if isinstance(module, Adder2d | AdderLinear):
            module.clip, module.p = clip, p  # type: ignore[assignment]
    first, last = fused[0], fused[4]
    x = torch.randn(7, 3, 4, 4)
    images, others = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.autograd.backward(fused(images).square().sum())
    hidden = torch.relu(fused[1](adder_conv2d(others, first.weight, clip=clip, p=p)))  # type: ignore[arg-type]
    torch.autograd.backward(adder_linear(hidden.flatten(1), last.weight, clip=clip, p=p).square().sum())  # type: ignore[arg-type]
    assert images.grad is not None
    assert torch.allclose(images.grad, others.grad, rtol=1e-4, atol=1e-4 * float(images.grad.abs().max()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("options", "reason"), [({"clip": "tanh"}, "unknown clip"), ({"p": 0.5}, "from 1 to 2")])
def test_what_is_no_variant_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        adder_conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), **options)  # type: ignore[arg-type]


def test_half_types_and_autocast() -> None:
    x, weight = torch.randn(2, 3, 5, 5).bfloat16(), torch.randn(4, 3, 3, 3)
    assert adder_conv2d(x, weight, p=1.5).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert adder_conv2d(x, weight, clip="none").dtype == torch.float32
