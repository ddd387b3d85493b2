"""The layer: every output and gradient against the float64 reference, and the laws that eq. 2 obeys."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from addercore import Adder2d, AdderLinear, adder_conv2d, adder_linear
from addercore.ops import available, choose, portable

PORTABLE = [name for name in available() if name != "reference"]

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Odd shapes: rectangular kernels and images, strides, paddings, dilations, groups."""
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    assume(all(size[a] + 2 * padding[a] > dilation[a] * (kernel[a] - 1) for a in (0, 1)))
    return {
        "x": (draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)), *size),
        "outputs": groups * draw(st.integers(1, 4)),
        "kernel": kernel,
        "seed": draw(st.integers(0, 2**31)),
        "geometry": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


def run(layer: dict[str, Any], backend: str, kind: torch.dtype, gradient: str) -> tuple[Tensor, Tensor, Tensor]:
    """(output, input gradient, weight gradient) for the layer's own random numbers."""
    generator = torch.Generator().manual_seed(layer["seed"])
    shape = layer["x"]
    weight_shape = (layer["outputs"], shape[1] // layer["geometry"]["groups"], *layer["kernel"])
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(kind).requires_grad_()
    weight = torch.randn(weight_shape, generator=generator, dtype=torch.float64).to(kind).requires_grad_()
    y = adder_conv2d(x, weight, **layer["geometry"], backend=backend, gradient=gradient)  # type: ignore[arg-type]
    y.backward(torch.randn(y.shape, generator=generator, dtype=torch.float64).to(kind))
    assert x.grad is not None
    assert weight.grad is not None
    return y.detach(), x.grad, weight.grad


@pytest.mark.parametrize("backend", PORTABLE)
@pytest.mark.parametrize("gradient", ["full_precision", "sign"])
@settings(deadline=None, max_examples=60)
@given(layer=layers(), tiny=st.booleans())
def test_agrees_with_the_reference(backend: str, gradient: str, layer: dict[str, Any], tiny: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if tiny:  # many pieces, the last of them not full
            patch.setattr(portable, "TEMPORARY", 50)
            patch.setattr(portable, "COLUMNS", 200)
        exact = run(layer, "reference", torch.float64, gradient)
        same = run(layer, backend, torch.float64, gradient)
    for name, a, b in zip(("output", "grad_input", "grad_weight"), exact, same, strict=True):
        assert a.shape == b.shape, name
        assert float((a - b).abs().max()) <= 1e-12 * max(1.0, float(a.abs().max())), name


@pytest.mark.parametrize("backend", PORTABLE)
@settings(deadline=None, max_examples=25)
@given(layer=layers())
def test_single_precision_is_close(backend: str, layer: dict[str, Any]) -> None:
    exact = run(layer, "reference", torch.float64, "full_precision")
    single = run(layer, backend, torch.float32, "full_precision")
    for name, a, b in zip(("output", "grad_input", "grad_weight"), exact, single, strict=True):
        assert b.dtype == torch.float32
        assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(a.abs().max())), name


def test_reference_is_the_equations() -> None:
    """One position written out by hand, so that the reference itself is held to something."""
    x = torch.tensor([[[[0.5, 3.0]]]], dtype=torch.float64, requires_grad=True)  # (1, 1, 1, 2)
    weight = torch.tensor([[[[2.0, 2.5]]], [[[0.0, -1.0]]]], dtype=torch.float64, requires_grad=True)
    y = adder_conv2d(x, weight, backend="reference")
    assert y.flatten().tolist() == [-(1.5 + 0.5), -(0.5 + 4.0)]
    y.backward(torch.tensor([[[[10.0]], [[1.0]]]], dtype=torch.float64))
    assert x.grad is not None
    assert weight.grad is not None
    # eq. 6: Σ_f g · clamp(F − X): 10·clamp(1.5) + 1·clamp(−0.5), 10·clamp(−0.5) + 1·clamp(−4)
    assert x.grad.flatten().tolist() == [10 * 1 - 0.5, -5 - 1]
    # eq. 5: g · (X − F)
    assert weight.grad.flatten().tolist() == [10 * -1.5, 10 * 0.5, 0.5, 4.0]


@pytest.mark.parametrize("backend", available())
class TestLaws:
    def test_never_positive_and_zero_at_equality(self, backend: str) -> None:
        torch.manual_seed(0)
        weight = torch.randn(5, 3, 4, 4) * 100
        y = adder_conv2d(weight, weight, backend=backend)  # every filter's own image
        assert (y <= 0).all()
        assert (y.flatten(1).diagonal() == 0).all()

    def test_symmetric_in_input_and_filter(self, backend: str) -> None:
        torch.manual_seed(0)
        a, b = torch.randn(6, 3, 4, 5, dtype=torch.float64), torch.randn(7, 3, 4, 5, dtype=torch.float64)
        one = adder_conv2d(a, b, backend=backend).flatten(1)
        other = adder_conv2d(b, a, backend=backend).flatten(1)
        torch.testing.assert_close(one, other.t(), rtol=0, atol=1e-12)

    def test_shift_invariant_without_padding_only(self, backend: str) -> None:
        torch.manual_seed(0)
        x, weight = torch.randn(2, 3, 6, 6, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
        plain = adder_conv2d(x, weight, backend=backend)
        torch.testing.assert_close(adder_conv2d(x + 2, weight + 2, backend=backend), plain, rtol=0, atol=1e-12)
        padded = adder_conv2d(x, weight, padding=1, backend=backend)
        shifted = adder_conv2d(x + 2, weight + 2, padding=1, backend=backend)
        assert (padded - shifted).abs().max() > 1

    def test_a_padded_tap_contributes_its_filter(self, backend: str) -> None:
        weight = torch.tensor([[[[3.0, -4.0, 5.0]]]])
        y = adder_conv2d(torch.zeros(1, 1, 1, 1), weight, padding=(0, 1), backend=backend)
        assert y.item() == -12

    def test_linear_is_the_layer_with_one_tap(self, backend: str) -> None:
        torch.manual_seed(0)
        x, weight = torch.randn(2, 3, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
        expected = -(x[..., None, :] - weight).abs().sum(-1)
        torch.testing.assert_close(adder_linear(x, weight, backend=backend), expected, rtol=0, atol=1e-12)

    def test_no_images_give_no_outputs(self, backend: str) -> None:
        x, weight = torch.zeros(0, 2, 5, 5, requires_grad=True), torch.ones(3, 2, 3, 3, requires_grad=True)
        y = adder_conv2d(x, weight, backend=backend)
        assert y.shape == (0, 3, 3, 3)
        y.sum().backward()
        assert weight.grad is not None
        assert (weight.grad == 0).all()


def test_half_inputs_are_accumulated_in_single_precision_and_autocast_keeps_it() -> None:
    x, weight = torch.randn(2, 3, 5, 5).bfloat16(), torch.randn(4, 3, 3, 3)
    exact = adder_conv2d(x.float(), weight)
    with torch.autocast("cpu", torch.bfloat16):
        y = adder_conv2d(x, weight)
    assert y.dtype == torch.float32
    assert torch.equal(y, exact)
    assert torch.equal(adder_conv2d(x, weight), exact.bfloat16())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"input": torch.zeros(1, 3, 5)}, r"\(1, 3, 5\)"),
        ({"input": torch.zeros(1, 2, 5, 5)}, r"\(1, 2, 5, 5\).*\(4, 3, 3, 3\)"),
        ({"input": torch.zeros(1, 3, 2, 5)}, r"smaller than the window"),
        ({"input": torch.zeros(1, 3, 5, 5, dtype=torch.int32)}, r"torch\.int32"),
        ({"stride": 0}, r"stride.*0"),
        ({"padding": (1, -1)}, r"padding.*\(1, -1\)"),
        ({"groups": 2}, r"2 groups"),
        ({"gradient": "half"}, r"'half'.*full_precision, sign"),
        ({"backend": "cuda9"}, r"'cuda9'.*portable.*ADDER_BACKEND"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        adder_conv2d(**{"input": torch.zeros(1, 3, 5, 5), "weight": torch.zeros(4, 3, 3, 3), **arguments})


def test_the_environment_chooses_and_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (torch.device("cpu"), torch.float32)
    monkeypatch.setenv("ADDER_BACKEND", "reference")
    assert choose(*here).name == "reference"
    assert choose(*here, "portable").name == "portable"
    monkeypatch.setenv("ADDER_BACKEND", "fastest")
    with pytest.raises(ValueError, match="fastest"):
        Adder2d(1, 1, 1)(torch.zeros(1, 1, 1, 1))


def test_modules() -> None:
    torch.manual_seed(0)
    layer = Adder2d(4, 6, (3, 2), stride=2, padding=1, groups=2)
    assert layer.weight.shape == (6, 2, 3, 2)
    assert layer(torch.zeros(2, 4, 7, 7)).shape == (2, 6, 4, 4)
    assert 0.9 < AdderLinear(100, 100).weight.std() < 1.1  # F ~ N(0, 1)
    with pytest.raises(ValueError, match="groups"):
        Adder2d(3, 6, 3, groups=2)


def test_importing_loads_no_tensor_library() -> None:
    code = (
        "import sys, addercore, addercore.spec, addercore.errors; addercore.__version__; addercore.TrainConfig; "
        "print([m for m in ('torch', 'numpy', 'safetensors', 'sklearn', 'PIL') if m in sys.modules])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_every_exported_name_resolves() -> None:
    import addercore

    for name in addercore.__all__:
        assert getattr(addercore, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        addercore.nothing  # noqa: B018
