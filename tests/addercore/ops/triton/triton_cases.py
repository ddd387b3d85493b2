"""Cases of the Triton backend in Triton's interpreter; test_triton.py runs this file with TRITON_INTERPRET=1.

Every fresh floating tensor is filled with NaN, shared memory too, so that what was not written shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from addercore.ops import Geometry, adder_conv2d, adder_linear
from addercore.ops.reference import Reference
from addercore.ops.triton import launch, tuning
from addercore.ops.triton.language import INTERPRETED
from addercore.ops.triton.methods import TritonBackend

ULP = 2.0**-24
BACKEND, REFERENCE = TritonBackend(), Reference()
assert INTERPRETED


@dataclass(frozen=True)
class Case:
    name: str
    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    geometry: Geometry = Geometry()  # noqa: RUF009 - frozen

    def tensors(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(x, weight, gradient of y)."""
        made = torch.Generator().manual_seed(seed)
        x, weight = torch.randn(self.x, generator=made), torch.randn(self.weight, generator=made)
        size = self.geometry.output_size(self.x[2:], self.weight[2:])
        return x, weight, torch.randn((self.x[0], self.weight[0], *size), generator=made)


CASES = [
    Case("ordinary", (2, 16, 7, 9), (20, 16, 3, 3), Geometry((1, 1), (1, 1))),
    Case("one of everything", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("few channels", (1, 3, 8, 7), (5, 3, 3, 2), Geometry((1, 1), (1, 0))),
    Case("stride", (2, 16, 9, 8), (17, 16, 3, 3), Geometry((2, 2), (1, 1))),
    Case("1x1 shortcut", (3, 20, 7, 6), (9, 20, 1, 1), Geometry((2, 2))),
    Case("rectangular, dilated", (1, 35, 7, 8), (18, 35, 2, 3), Geometry((1, 2), (0, 2), (3, 2))),
    Case("grouped", (2, 12, 8, 5), (18, 4, 3, 3), Geometry((3, 2), (2, 1), (2, 2), 3)),
    Case("depthwise", (2, 6, 6, 5), (6, 1, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 6)),
    Case("split sums", (1, 32, 4, 5), (18, 32, 3, 3), Geometry((1, 1), (1, 1))),
    Case("uneven splits", (1, 272, 2, 1), (3, 272, 1, 1)),
    Case("uneven splits of the gradient", (1, 3, 2, 1), (272, 3, 1, 1)),
    Case("several tiles", (3, 5, 10, 9), (4, 5, 1, 3)),
    Case("stride beyond the kernel", (1, 4, 7, 7), (3, 4, 2, 2), Geometry((3, 4), (1, 0))),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Fresh tensors hold NaN, as far as the backend's ways of making them go."""
    torch.set_num_threads(1)

    def spoil(make: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Tensor:
            fresh: Tensor = make(*args, **kwargs)
            return fresh.fill_(torch.nan) if fresh.is_floating_point() else fresh

        return made

    with (
        patch.object(torch, "empty", spoil(torch.empty)),
        patch.object(torch, "empty_like", spoil(torch.empty_like)),
        patch.object(torch.Tensor, "new_empty", spoil(torch.Tensor.new_empty)),
    ):
        yield


def double(*tensors: Tensor | None) -> list[Any]:
    return [None if one is None else one.double() for one in tensors]


def reach(case: Case, grad: Tensor) -> Tensor:
    """Σ|g| over what an input position meets: eq. 6 with every difference clamped to 1."""
    below = torch.full(case.x, -1e9, dtype=torch.float64)
    return REFERENCE.grad_input(grad.double().abs(), below, torch.zeros(case.weight).double(), case.geometry)


# --- against the float64 reference


@every_case
def test_forward(case: Case) -> None:
    x, weight, _ = case.tensors()
    y = BACKEND.forward(x, weight, case.geometry)
    exact = REFERENCE.forward(*double(x, weight), case.geometry)
    assert y.shape == exact.shape
    terms = weight[0].numel()
    assert ((y - exact).abs() <= (terms + 1) * ULP * exact.abs()).all()
    assert ((y - exact).abs() / exact.abs()).max() <= 1e-6
    assert torch.equal(y, BACKEND.forward(x, weight, case.geometry))


@every_case
def test_input_gradient(case: Case) -> None:
    x, weight, grad = case.tensors()
    dx = BACKEND.grad_input(grad, x, weight, case.geometry)
    exact = REFERENCE.grad_input(*double(grad, x, weight), case.geometry)
    terms = weight[:, 0].numel() // case.geometry.groups
    scale, error = reach(case, grad), (dx - exact).abs()
    assert (error <= (3 * terms + weight.abs().max() + 6) * ULP * scale).all()
    assert (error <= 4e-7 * scale).all()
    assert torch.equal(dx, BACKEND.grad_input(grad, x, weight, case.geometry))


@every_case
@pytest.mark.parametrize("sign", [False, True], ids=["eq. 5", "eq. 4"])
def test_filter_gradient(case: Case, sign: bool) -> None:
    x, weight, grad = case.tensors()
    dw = BACKEND.grad_weight(grad, x, weight, case.geometry, sign)
    exact = REFERENCE.grad_weight(*double(grad, x, weight), case.geometry, sign)
    sizes = grad.double().abs().sum((0, 2, 3))[:, None, None, None] * (x.abs().max() + weight.abs().max() + 1)
    assert ((dw - exact).abs() <= 5e-7 * sizes).all()
    assert torch.equal(dw, BACKEND.grad_weight(grad, x, weight, case.geometry, sign))


@every_case
@pytest.mark.parametrize(("residual", "relu"), [(False, True), (True, False), (True, True)])
def test_folded_batch_normalisation(case: Case, residual: bool, relu: bool) -> None:
    x, weight, kept = case.tensors()
    scale, shift = torch.randn(2, weight.shape[0])
    added = kept if residual else None
    z = BACKEND.forward_affine(x, weight, case.geometry, scale, shift, added, relu)
    exact = REFERENCE.forward_affine(*double(x, weight), case.geometry, *double(scale, shift, added), relu)
    y = REFERENCE.forward(*double(x, weight), case.geometry)
    size = (y * scale[:, None, None]).abs() + shift.abs()[:, None, None] + kept.abs()
    assert ((z - exact).abs() <= 1.5e-6 * size).all()
    assert torch.equal(
        z, BACKEND.normalize(BACKEND.forward(x, weight, case.geometry), scale, shift, added, relu)
    )  # the same numbers as in two steps


@every_case
def test_moments(case: Case) -> None:
    x, weight, _ = case.tensors()
    y, mean, variance = BACKEND.forward_moments(x, weight, case.geometry)
    assert torch.equal(y, BACKEND.forward(x, weight, case.geometry))
    _, exact_mean, exact_variance = REFERENCE.forward_moments(*double(x, weight), case.geometry)
    spread = exact_variance.sqrt()
    assert ((mean - exact_mean).abs() <= 1e-6 * exact_mean.abs()).all()
    # Rounding of y itself moves a variance by about |mean|·2⁻²⁴ of a standard deviation, twice.
    assert ((variance - exact_variance).abs() <= 4e-6 * (exact_variance + exact_mean.abs() * spread)).all()


def test_moments_far_from_zero() -> None:
    """|mean|/std beyond 500, where E[y²] − E[y]² in float32 is off by per cents."""
    x, weight = 100 + torch.randn(4, 8, 9, 9), torch.randn(5, 8, 3, 3)
    y, mean, variance = BACKEND.forward_moments(x, weight, Geometry())
    exact = y.double().var((0, 2, 3), correction=0)
    assert (mean.abs() > 500 * exact.sqrt()).all()
    assert ((variance - exact).abs() <= 5e-5 * exact).all()  # tile means are rounded: 2⁻²⁴·|mean|/std, times 2
    naive = (y * y).mean((0, 2, 3)) - y.mean((0, 2, 3)) ** 2
    assert ((naive - exact).abs() > 2e-3 * exact).any()


@every_case
@pytest.mark.parametrize("relu", [False, True])
def test_backward_of_batch_normalisation(case: Case, relu: bool) -> None:
    _, _, y = case.tensors(1)
    y, grad = 3 * y - 40, torch.randn_like(y)
    gamma, mean = torch.randn(y.shape[1]), y.mean((0, 2, 3))
    invstd = (y.var((0, 2, 3), correction=0) + 1e-5).rsqrt()
    z = torch.randn_like(y).relu_() if relu else None
    found = BACKEND.normalize_backward(grad, z, y, mean, invstd, gamma)
    exact = REFERENCE.normalize_backward(*double(grad, z, y, mean, invstd, gamma))
    scales = (1 + grad.abs().max()) * (1 + gamma.abs().max()) * (1 + invstd.max()), *[grad.abs().sum() + 1] * 2, 1.0
    for one, other, scale in zip(found, exact, scales, strict=True):
        assert one.shape == other.shape
        assert ((one - other).abs() <= 2e-6 * scale).all()
    if z is None:
        assert found[3] is grad


# --- bits that must not depend on what is chosen


@pytest.mark.parametrize(
    "case",
    [
        Case("flattened, few channels", (1, 3, 5, 5), (5, 3, 3, 2), Geometry((1, 1), (1, 0))),
        Case("channels that fill no unit", (1, 33, 3, 4), (3, 33, 1, 2)),
        Case("split sums", (1, 32, 3, 3), (17, 32, 3, 3), Geometry((1, 1), (1, 1))),
    ],
    ids=lambda case: case.name,
)
def test_every_tile_gives_the_same_bits(case: Case) -> None:
    x, weight, grad = case.tensors()

    def forward() -> tuple[Tensor, ...]:
        y, means, squares = launch.run_forward(x, weight, case.geometry, launch.MOMENTS)
        return y, means, squares

    def backward() -> tuple[Tensor, ...]:
        return (launch.run_grad_input(grad, x, weight, case.geometry),)

    for run, tiles in ((forward, tuning.FORWARD), (backward, tuning.GRADIENT)):
        usual = run()
        for tile in tiles:
            with patch.object(tuning, "choose", lambda *_, tile=tile: tile):
                assert all(map(torch.equal, run(), usual)), tile


@pytest.mark.parametrize("case", CASES[:4], ids=lambda case: case.name)
def test_wide_positions_give_the_same_bits(case: Case) -> None:
    x, weight, grad = case.tensors()
    narrow = BACKEND.forward_moments(x, weight, case.geometry), BACKEND.grad_input(grad, x, weight, case.geometry)
    with patch.object(launch, "_wide", lambda _: True):
        wide = BACKEND.forward_moments(x, weight, case.geometry), BACKEND.grad_input(grad, x, weight, case.geometry)
    assert all(map(torch.equal, narrow[0], wide[0]))
    assert torch.equal(narrow[1], wide[1])


# --- the layer's laws


def test_laws() -> None:
    rows, filters = torch.randn(2, 6, 37)[0], torch.randn(4, 37)
    filters[2] = rows[3]
    y = adder_linear(rows, filters, backend="triton")
    assert (y <= 0).all()
    assert y[3, 2] == 0
    assert torch.equal(y, adder_linear(filters, rows, backend="triton").T)
    x, weight, _ = CASES[0].tensors()
    moved = BACKEND.forward(x + 0.5, weight + 0.5, Geometry())
    torch.testing.assert_close(moved, BACKEND.forward(x, weight, Geometry()), rtol=2e-6, atol=0)


def test_sign_of_an_equal_pair_is_zero() -> None:
    x, grad = torch.tensor([[1.0, 2.0, 3.0]]).reshape(3, 1, 1, 1), torch.tensor([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
    found = BACKEND.grad_weight(grad, x, torch.full((1, 1, 1, 1), 2.0), Geometry(), True)
    assert found.item() == 100 - 1


def test_padded_taps_count() -> None:
    y = BACKEND.forward(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 3, 3), 2.0), Geometry((1, 1), (1, 1)))
    assert y.item() == -18


def test_nan_and_infinity() -> None:
    x, weight, grad = CASES[0].tensors()
    x[0, 3, 2, 4], x[1, 2, 1, 1] = torch.nan, torch.inf
    y = BACKEND.forward(x, weight, CASES[0].geometry)
    exact = REFERENCE.forward(*double(x, weight), CASES[0].geometry)
    assert torch.equal(y.isnan(), exact.isnan())
    assert torch.equal(y.isinf(), exact.isinf())
    dx = BACKEND.grad_input(grad, x, weight, CASES[0].geometry)
    assert torch.equal(dx.isnan(), x.isnan())
    ones = torch.ones(weight.shape[0])
    assert BACKEND.forward_affine(x, weight, CASES[0].geometry, ones, ones, None, True).isnan().any()


def test_empty_batch() -> None:
    x, weight = torch.empty(0, 3, 5, 5), torch.randn(4, 3, 3, 3)
    y, mean, variance = BACKEND.forward_moments(x, weight, Geometry())
    assert y.shape == (0, 4, 3, 3)
    assert mean.isnan().all()
    assert variance.isnan().all()
    assert BACKEND.grad_input(y, x, weight, Geometry()).shape == x.shape
    for sign in (False, True):
        assert torch.equal(BACKEND.grad_weight(y, x, weight, Geometry(), sign), torch.zeros_like(weight))


# --- the operator, and what is refused


def test_through_the_operator() -> None:
    x, weight, grad = CASES[3].tensors()
    half = x.bfloat16().requires_grad_()
    filters = weight.clone().requires_grad_()
    y = adder_conv2d(half, filters, 2, 1, backend="triton")
    rounded = half.detach().float()
    torch.testing.assert_close(
        y.float(), BACKEND.forward(rounded, weight, CASES[3].geometry), rtol=2**-8, atol=0
    )  # the output's type is the operator's business
    y.backward(grad.to(y.dtype))
    assert half.grad is not None
    assert filters.grad is not None
    exact = REFERENCE.grad_input(*double(grad.to(y.dtype), rounded, weight), CASES[3].geometry)
    torch.testing.assert_close(half.grad.double(), exact, rtol=2**-7, atol=2**-7)


def test_refusals() -> None:
    assert BACKEND.refusal(torch.device("cpu"), torch.float32) is None
    assert "float32" in str(BACKEND.refusal(torch.device("cpu"), torch.float64))
    assert "TRITON_INTERPRET" in str(BACKEND.refusal(torch.device("cuda", 0), torch.float32))


@pytest.mark.parametrize(
    ("x", "weight", "name"),
    [
        ((1, 2**14, 256, 257), (1, 2**14, 1, 1), "an input image"),
        ((1, 1, 1024, 1024), (1024, 1, 1, 1), "an output image"),
        ((1, 2**17, 1, 1), (2**14, 2**17, 1, 1), "weight"),
    ],
)
def test_offsets_beyond_32_bits_are_refused(x: tuple[int, ...], weight: tuple[int, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is too large .*; cut it up"):
        launch.shape_of(torch.empty(x, device="meta"), torch.empty(weight, device="meta"), Geometry())


@pytest.mark.parametrize("tf32", [False, True])
def test_the_matrix_product_is_exact_unless_asked_otherwise(tf32: bool) -> None:
    seen = []

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.convolution_backward.default:
                seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))
            return func(*args, **(kwargs or {}))

    x, weight, grad = CASES[0].tensors()
    with Spy():
        TritonBackend(tf32).grad_weight(grad, x, weight, CASES[0].geometry, False)
    assert seen == [(tf32, True)]
