"""What eq. 2 obeys whatever computes it, and what our own kernels promise beyond: the same bits on any thread count."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from addercore import adder_conv2d, adder_linear
from addercore.ops import Geometry, get
from tests.support.adder import BACKENDS, COMPILED, DOUBLE, EPS, Layer

pytestmark = pytest.mark.bits

KINDS = [(name, torch.float32) for name in BACKENDS] + [(name, torch.float64) for name in DOUBLE]
FUSED = [name for name in COMPILED if name != "c-generic"]
"""Instruction sets with multiply-add, which `c-generic` rounds twice."""


def close(a: Tensor, b: Tensor, terms: float) -> bool:
    eps = EPS if a.dtype == torch.float32 else 2.0**-52
    return float((a - b).abs().max()) <= 4 * eps * terms


@pytest.mark.parametrize(("backend", "kind"), KINDS)
class TestLaws:
    def test_never_positive_and_zero_at_equality(self, backend: str, kind: torch.dtype) -> None:
        torch.manual_seed(0)
        weight = torch.randn(21, 5, 4, 4, dtype=kind) * 100
        y = adder_conv2d(weight, weight, backend=backend)  # every filter's own image
        assert (y <= 0).all()
        assert (y.flatten(1).diagonal() == 0).all()
        near = adder_conv2d(weight[:1] * (1 + 1e-7), weight[:1], padding=2, backend=backend)
        assert (near <= 0).all()

    def test_symmetric_in_input_and_filter(self, backend: str, kind: torch.dtype) -> None:
        torch.manual_seed(0)
        a, b = torch.randn(6, 3, 4, 5, dtype=kind), torch.randn(17, 3, 4, 5, dtype=kind)
        one = adder_conv2d(a, b, backend=backend).flatten(1)
        other = adder_conv2d(b, a, backend=backend).flatten(1)
        assert close(one, other.t(), terms=200)

    def test_shift_invariant_without_padding_only(self, backend: str, kind: torch.dtype) -> None:
        torch.manual_seed(0)
        x, weight = torch.randn(2, 3, 6, 6, dtype=kind), torch.randn(4, 3, 3, 3, dtype=kind)
        plain = adder_conv2d(x, weight, backend=backend)
        assert close(adder_conv2d(x + 2, weight + 2, backend=backend), plain, terms=27 * 8)
        padded = adder_conv2d(x, weight, padding=1, backend=backend)
        shifted = adder_conv2d(x + 2, weight + 2, padding=1, backend=backend)
        assert (padded - shifted).abs().max() > 1

    def test_a_padded_tap_contributes_its_filter(self, backend: str, kind: torch.dtype) -> None:
        weight = torch.tensor([[[[3.0, -4.0, 5.0]]]], dtype=kind)
        y = adder_conv2d(torch.zeros(1, 1, 1, 1, dtype=kind), weight, padding=(0, 1), backend=backend)
        assert y.item() == -12

    def test_linear_is_the_layer_with_one_tap(self, backend: str, kind: torch.dtype) -> None:
        torch.manual_seed(0)
        x, weight = torch.randn(2, 3, 37, dtype=kind), torch.randn(11, 37, dtype=kind)
        expected = -(x[..., None, :] - weight).abs().sum(-1)
        assert close(adder_linear(x, weight, backend=backend), expected, terms=80)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_reaches_its_windows_and_no_others(backend: str, value: float) -> None:
    """An infinite input may come out as −inf or as NaN (the max form subtracts infinities); a NaN is never lost."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 11), torch.randn(10, 3, 3, 3)
    clean = adder_conv2d(x, weight, padding=1, backend=backend)
    x[1, 2, 4, 5] = value
    y = adder_conv2d(x, weight, padding=1, backend=backend)
    reached = torch.zeros_like(y, dtype=torch.bool)
    reached[1, :, 3:6, 4:7] = True
    assert torch.equal(y[~reached], clean[~reached])
    assert not y[reached].isfinite().any()
    if value != value:
        assert y[reached].isnan().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_filter_or_a_gradient_that_is_not_a_number_is_not_lost(backend: str) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 11), torch.randn(10, 3, 3, 3)
    weight[4, 1, 1, 1] = float("nan")
    y = adder_conv2d(x, weight, backend=backend)
    assert y[:, 4].isnan().all()
    assert y[:, :4].isfinite().all()
    assert y[:, 5:].isfinite().all()
    grad = torch.zeros_like(y)
    grad[0, 2, 3, 4] = float("nan")
    weight[4, 1, 1, 1] = 0
    back = get(backend).grad_input(grad, x, weight, Geometry())
    assert back[0, :, 3:6, 4:7].isnan().all()
    assert back[1].isfinite().all()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


LAYERS = [
    Layer((3, 16, 17, 13), 20, (3, 3), Geometry(padding=(1, 1))),
    Layer((1, 16, 17, 13), 20, (3, 3), Geometry(padding=(1, 1))),  # one image: what is shared out must still be equal
    Layer((5, 12, 15, 14), 10, (3, 2), Geometry((2, 2), (1, 0), (1, 1), 2)),
    Layer((4, 32, 8, 8), 40, (1, 1), Geometry(stride=(2, 2))),
    Layer((70, 84, 1, 1), 10, (1, 1), Geometry()),
    Layer((210, 133, 1, 1), 101, (1, 1), Geometry()),
    Layer((5, 40, 17, 13), 40, (3, 3), Geometry(padding=(1, 1), groups=40)),  # depthwise
    Layer((9, 6, 60, 60), 6, (3, 3), Geometry((2, 2), (1, 0), groups=6)),
]


def everything(backend: str, layer: Layer) -> dict[str, Tensor]:
    b, g = get(backend), layer.geometry
    x, weight, grad = (tensor.float() for tensor in layer.numbers())
    y, mean, variance = b.forward_moments(x, weight, g)
    gamma, beta = weight.sum((1, 2, 3)), torch.ones(layer.outputs)
    z = b.normalize(y, gamma, beta, grad, True)
    backward = b.normalize_backward(grad, z, y, mean, torch.rsqrt(variance + 1e-5), gamma)
    pooled = {}
    if min(y.shape[2:]) > 1:
        small, winner = b.normalize_pool(y, gamma, beta, True)
        after = b.normalize_pool_backward(small, winner, y, mean, torch.rsqrt(variance + 1e-5), gamma)
        names = ("pooled", "winner", "pooled_grad_y", "pooled_grad_gamma", "pooled_grad_beta")
        pooled = dict(zip(names, (small, winner, *after), strict=True))
    found = {
        "forward": b.forward(x, weight, g),
        "grad_input": b.grad_input(grad, x, weight, g),
        "grad_weight": b.grad_weight(grad, x, weight, g, False),
        "sign": b.grad_weight(grad, x, weight, g, True),
        "affine": b.forward_affine(x, weight, g, gamma, beta, grad, True),
        "y": y,
        "mean": mean,
        "variance": variance,
        "z": z,
    }
    return found | pooled | dict(zip(("grad_y", "grad_gamma", "grad_beta", "masked"), backward, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer.shape)))
def test_equal_calls_give_equal_bits(backend: str, layer: Layer) -> None:
    for count in (1, 2):
        with threads(count):
            first = everything(backend, layer)
            for _ in range(3):
                again = everything(backend, layer)
                assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.skipif(not COMPILED, reason="the C kernels are not built here")
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer.shape)))
def test_our_kernels_give_equal_bits_on_any_number_of_threads(backend: str, layer: Layer) -> None:
    with threads(1):
        one = everything(backend, layer)
    for count in (2, 3):
        with threads(count):
            more = everything(backend, layer)
        assert not {name for name in one if not torch.equal(one[name], more[name])}


@pytest.mark.skipif(len(COMPILED) < 2, reason="one instruction set only: the C kernels are not built, or for this one")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer.shape)))
def test_instruction_sets_agree_in_bits(layer: Layer) -> None:
    """Sums over taps run in one order everywhere; sums over positions (the other results) do not."""
    found = {name: everything(name, layer) for name in COMPILED}
    for name in COMPILED:
        assert torch.equal(found[name]["forward"], found[COMPILED[0]]["forward"]), name
    for name in FUSED:
        for result in ("grad_input", "affine"):
            assert torch.equal(found[name][result], found[FUSED[0]][result]), (name, result)
