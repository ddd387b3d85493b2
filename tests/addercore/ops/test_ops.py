"""The public operations: the equations by hand, what is refused, modules, imports."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from addercore import Adder2d, AdderLinear, adder_conv2d, adder_linear
from addercore.ops import choose
from tests.support.adder import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_equations_by_hand(backend: str) -> None:
    """One position written out, so that the reference itself is held to something."""
    x = torch.tensor([[[[0.5, 3.0]]]], requires_grad=True)  # (1, 1, 1, 2)
    weight = torch.tensor([[[[2.0, 2.5]]], [[[0.0, -1.0]]]], requires_grad=True)
    grad = torch.tensor([[[[10.0]], [[1.0]]]])
    y = adder_conv2d(x, weight, backend=backend)
    assert y.flatten().tolist() == [-(1.5 + 0.5), -(0.5 + 4.0)]
    for_x, for_weight = torch.autograd.grad(y, (x, weight), grad)
    # eq. 6: Σ_f g · clamp(F − X): 10·clamp(1.5) + 1·clamp(−0.5), 10·clamp(−0.5) + 1·clamp(−4)
    assert for_x.flatten().tolist() == [10 * 1 - 0.5, -5 - 1]
    # eq. 5: g · (X − F)
    assert for_weight.flatten().tolist() == [10 * -1.5, 10 * 0.5, 0.5, 4.0]
    y = adder_conv2d(x, weight, backend=backend, gradient="sign")
    for_x, for_weight = torch.autograd.grad(y, (x, weight), grad)
    assert for_x.flatten().tolist() == [10 * 1 - 0.5, -5 - 1]
    assert for_weight.flatten().tolist() == [-10, 10, 1, 1]  # eq. 4: g · sgn(X − F)


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
        ({"input": torch.zeros(1, 3, 5, 5, dtype=torch.complex64)}, r"input.*torch\.complex64"),
        ({"weight": torch.zeros(4, 3, 3, 3, dtype=torch.bool)}, r"weight.*torch\.bool"),
        ({"weight": torch.zeros(4, 3, 3)}, r"\(4, 3, 3\)"),
        ({"weight": torch.zeros(0, 3, 3, 3)}, r"weight must not be empty.*\(0, 3, 3, 3\)"),
        ({"weight": torch.zeros(4, 3, 0, 3)}, r"weight must not be empty.*\(4, 3, 0, 3\)"),
        ({"weight": torch.zeros(4, 3, 3, 3, device="meta")}, r"input is on cpu and weight on meta; move"),
        ({"weight": torch.zeros(3, 1, 3, 3), "groups": 2}, r"\(3, 1, 3, 3\).*2 groups"),
        ({"groups": 0}, r"groups.*got 0"),
        ({"groups": 1.0}, r"groups.*1\.0"),
        ({"dilation": (1, 2, 3)}, r"dilation.*\(1, 2, 3\)"),
        ({"dilation": 3}, r"smaller than the window"),
        ({"stride": 1.5}, r"stride.*1\.5"),
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


def test_wrong_features_are_named() -> None:
    for shapes in (((2, 3), (4, 5)), ((2, 0), (4, 0)), ((2, 3), (4, 3, 1)), ((), (4, 1))):
        with pytest.raises(ValueError, match=r"adder_linear takes.*\(4, "):
            adder_linear(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
    assert adder_linear(torch.zeros(0, 3), torch.zeros(4, 3)).shape == (0, 4)
    assert adder_linear(torch.zeros(3), torch.ones(4, 3)).tolist() == [-3.0] * 4


def test_the_operators_themselves_check_what_they_are_given() -> None:
    """A call past the public functions must not read beyond a buffer either."""
    x, weight, place = torch.zeros(1, 3, 5, 5), torch.zeros(4, 3, 3, 3), ([1, 1], [0, 0], [1, 1], 1, "")
    four = torch.zeros(4)
    with pytest.raises(ValueError, match="groups"):
        torch.ops.addercore.forward(x, weight[:, :2], False, *place)
    with pytest.raises(ValueError, match=r"stride.*\[1, 0\]|stride.*\(1, 0\)"):
        torch.ops.addercore.forward(x, weight, False, [1, 0], *place[1:])
    with pytest.raises(ValueError, match=r"grad must have the shape \(1, 4, 3, 3\), got \(1, 4, 3, 4\)"):
        torch.ops.addercore.grad_input(torch.zeros(1, 4, 3, 4), x, weight, *place)
    with pytest.raises(ValueError, match=r"scale must have the shape \(4,\), got \(3,\)"):
        torch.ops.addercore.forward_affine(x, weight, torch.zeros(3), four, None, False, *place)
    with pytest.raises(ValueError, match=r"residual must have the shape \(1, 4, 3, 3\), got \(1, 4, 5, 5\)"):
        torch.ops.addercore.forward_affine(x, weight, four, four, torch.zeros(1, 4, 5, 5), False, *place)
    y = torch.zeros(1, 4, 3, 3)
    with pytest.raises(ValueError, match=r"z must have the shape"):
        torch.ops.addercore.normalize_backward(y, y[:, :2], y, four, four, four, "")
    with pytest.raises(ValueError, match=r"y must have the shape \(N, F, H', W'\), got \(4, 9\)"):
        torch.ops.addercore.normalize(torch.zeros(4, 9), torch.zeros(9), torch.zeros(9), None, False, "")
    with pytest.raises(ValueError, match=r"gamma must have the shape \(4,\), got \(1,\)"):
        torch.ops.addercore.forward_normalized(x, weight, four[:1], four, None, False, False, 1e-5, False, *place)
    with pytest.raises(ValueError, match=r"a residual or pools, not both"):
        torch.ops.addercore.forward_normalized(x, weight, four, four, y, False, True, 1e-5, False, *place)
    with pytest.raises(ValueError, match=r"y must hold a window of 2×2, got \(1, 4, 1, 3\)"):
        torch.ops.addercore.normalize_pool(y[:, :, :1], four, four, True, "")
    with pytest.raises(ValueError, match=r"winner must be uint8, as normalize_pool gives it, got torch.float32"):
        torch.ops.addercore.normalize_pool_backward(y[:, :, :1, :1], y[:, :, :1, :1], y, four, four, four, "")
    with pytest.raises(ValueError, match=r"grad must have the shape \(1, 4, 1, 1\), got \(1, 4, 3, 3\)"):
        torch.ops.addercore.normalize_pool_backward(y, y.byte(), y, four, four, four, "")


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
        "import sys, addercore, addercore.arch, addercore.config, addercore.errors; "
        "addercore.__version__; addercore.TrainConfig; "
        "print([m for m in ('torch', 'numpy', 'safetensors', 'sklearn', 'PIL') if m in sys.modules])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_every_exported_name_resolves() -> None:
    import addercore

    for name in addercore.__all__:
        assert getattr(addercore, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        addercore.nothing  # noqa: B018
