"""Every backend by name against the float64 reference: values, gradients, fused methods, on odd shapes and memory."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as nnf

from addercore import adder_conv2d
from addercore.ops import Backend, Geometry, get, portable
from addercore.ops.backend import DEAD, pooled_shape
from tests.support.adder import (
    BACKENDS,
    DOUBLE,
    LAYOUTS,
    Layer,
    arranged,
    layer_results,
    layer_terms,
    layers,
    poisoned,
    worst,
)

pytestmark = pytest.mark.bits

BOUND = 8.0
"""float32: |error| ≤ 8 · 2⁻²³ · (sum of magnitudes, `layer_terms`), for sums of up to some 400 terms; the largest seen
in a few hundred layers was 4.3, in the forward's max form, which takes the difference of three sums."""
LONG_BOUND = {"portable": 32.0}  # for thousands of terms, which `cdist` adds in a few long sums; the others: 16
REFERENCE = get("reference")


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(deadline=None, max_examples=60)
@given(layer=layers(), sign=st.booleans(), tiny=st.booleans())
def test_single_precision(backend: str, layer: Layer, sign: bool, tiny: bool) -> None:
    exact, terms = layer_results(REFERENCE, layer, torch.float64, sign), layer_terms(layer, sign)
    with pytest.MonkeyPatch.context() as patch, poisoned():
        if tiny:  # many pieces, the last of them not full
            patch.setattr(portable, "TEMPORARY", 50)
            patch.setattr(portable, "COLUMNS", 200)
        found = layer_results(get(backend), layer, torch.float32, sign)
    for name, value in found.items():
        assert value.is_contiguous()
        assert worst(exact[name], value, terms[name]) <= BOUND, name


@pytest.mark.parametrize("backend", [name for name in DOUBLE if name != "reference"])
@settings(deadline=None, max_examples=40)
@given(layer=layers(), sign=st.booleans())
def test_double_precision(backend: str, layer: Layer, sign: bool) -> None:
    exact, terms = layer_results(REFERENCE, layer, torch.float64, sign), layer_terms(layer, sign)
    with poisoned():
        found = layer_results(get(backend), layer, torch.float64, sign)
    for name, value in found.items():
        assert worst(exact[name], value, terms[name] * 2**-29) <= BOUND, name  # 2⁻⁵² / 2⁻²³


LONG = [
    Layer((1, 512, 4, 5), 9, (3, 3), Geometry(padding=(1, 1))),  # K = 4608
    Layer((2, 67, 9, 33), 21, (3, 3), Geometry(stride=(2, 2), padding=(1, 1))),
    Layer((2, 64, 7, 7), 33, (1, 1), Geometry(stride=(2, 2))),
    Layer((1, 3, 40, 37), 10, (7, 7), Geometry(stride=(2, 2), padding=(3, 3))),
    Layer((33, 400, 1, 1), 120, (1, 1), Geometry()),
    Layer((3, 4, 40, 37), 4, (7, 5), Geometry((2, 3), (3, 2), groups=4)),
]


@pytest.mark.parametrize("layer", LONG, ids=lambda layer: "x".join(map(str, layer.shape)))
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_many_terms(backend: str, layer: Layer) -> None:
    exact, terms = layer_results(get("portable"), layer, torch.float64), layer_terms(layer)
    with poisoned():
        found = layer_results(get(backend), layer, torch.float32)
    for name, value in found.items():
        assert worst(exact[name], value, terms[name]) <= LONG_BOUND.get(backend, 16.0), name


# --- the fused methods


def affine(backend: Backend, layer: Layer, kind: torch.dtype, residual: bool, relu: bool) -> Tensor:
    x, weight, grad = (tensor.to(kind) for tensor in layer.numbers())
    scale, shift = (layer.channel(number).to(kind) for number in (1, 2))
    return backend.forward_affine(x, weight, layer.geometry, scale, shift, grad if residual else None, relu)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(deadline=None, max_examples=40)
@given(layer=layers(), residual=st.booleans(), relu=st.booleans())
def test_affine(backend: str, layer: Layer, residual: bool, relu: bool) -> None:
    exact = affine(REFERENCE, layer, torch.float64, residual, relu)
    with poisoned():
        found = affine(get(backend), layer, torch.float32, residual, relu)
    scale, shift = (layer.channel(number).abs()[:, None, None] for number in (1, 2))
    terms = scale * layer_terms(layer)["forward"] + shift + layer.numbers()[2].abs()
    assert worst(exact, found, terms) <= BOUND


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(deadline=None, max_examples=40)
@given(layer=layers(images=5))
def test_moments(backend: str, layer: Layer) -> None:
    x, weight, _ = (tensor.float() for tensor in layer.numbers())
    assume(layer.shape[0])
    with poisoned():
        y, mean, variance = get(backend).forward_moments(x, weight, layer.geometry)
    assert worst(layer_results(REFERENCE, layer, torch.float64)["forward"], y, layer_terms(layer)["forward"]) <= BOUND
    doubles = y.double()
    magnitude = doubles.abs().mean((0, 2, 3))
    assert worst(doubles.mean((0, 2, 3)), mean, magnitude) <= BOUND
    exact = doubles.var((0, 2, 3), correction=0)
    # of the values as stored; a channel that hardly varies keeps the rounding of its mean: eps · |mean|, squared
    assert worst(exact, variance, exact + 2.0**-23 * magnitude**2) <= 4 * BOUND


def normalization(layer: Layer) -> dict[str, Tensor]:
    """Inputs of a batch normalisation and of its backward; float64 values that float32 holds exactly."""
    shape = layer.output_shape
    y = (3 * layer.random(*shape, 1)[..., 0] + 5).float().double().contiguous()
    variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
    given = {
        "y": y,
        "grad": layer.numbers()[2],
        "residual": layer.random(*shape, 2)[..., 0].contiguous(),
        "mean": mean,
        "invstd": torch.rsqrt(variance + 1e-5),
        "gamma": layer.channel(1),
        "shift": layer.channel(2),
    }
    return {name: tensor.float().double() for name, tensor in given.items()}


def normalized(
    backend: Backend, given: dict[str, Tensor], kind: torch.dtype, residual: bool, mask: Tensor | None
) -> tuple[Tensor, ...]:
    """(z, and the four results of the backward)."""
    g = {name: tensor.to(kind) for name, tensor in given.items()}
    z = backend.normalize(g["y"], g["gamma"], g["shift"], g["residual"] if residual else None, mask is not None)
    inputs = (g["y"], g["mean"], g["invstd"], g["gamma"])
    return z, *backend.normalize_backward(g["grad"], None if mask is None else mask.to(kind), *inputs)


def normalization_terms(given: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Sums of magnitudes in z, ∂y, ∂γ and ∂β."""
    wide = {name: tensor.abs() if tensor.dim() == 4 else tensor.abs()[:, None, None] for name, tensor in given.items()}
    grad, count = wide["grad"], max(1, given["y"].numel() // given["y"].shape[1])
    centred = (given["y"].sub(given["mean"][:, None, None]).abs()) * wide["invstd"]
    for_gamma, for_beta = (grad * centred).sum((0, 2, 3)), grad.sum((0, 2, 3))
    means = (for_beta[:, None, None] + centred * for_gamma[:, None, None]) / count
    z = wide["gamma"] * wide["y"] + wide["shift"] + wide["residual"]
    return z, (grad + means) * wide["gamma"] * wide["invstd"], for_gamma, for_beta


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(deadline=None, max_examples=60)
@given(layer=layers(images=5), residual=st.booleans(), relu=st.booleans())
def test_normalisation_and_its_gradient(backend: str, layer: Layer, residual: bool, relu: bool) -> None:
    assume(layer.shape[0])
    given = normalization(layer)
    mask = layer.random(*layer.output_shape, 3)[..., 0].contiguous() if relu else None
    exact = normalized(REFERENCE, given, torch.float64, residual, mask)
    with poisoned():
        found = normalized(get(backend), given, torch.float32, residual, mask)
    names = ("z", "grad_y", "grad_gamma", "grad_beta")
    for name, a, b, terms in zip(names, exact, found, normalization_terms(given), strict=False):
        assert worst(a, b, terms) <= BOUND, name
    assert torch.equal(exact[4], found[4].double())


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@settings(deadline=None, max_examples=60)
@given(layer=layers(largest=40, images=5), relu=st.booleans())
def test_pooling_after_normalisation_and_its_gradient(backend: str, layer: Layer, relu: bool) -> None:
    """Values and winners are those of torch's pooling behind the backend's own normalisation, to the bit."""
    assume(layer.shape[0] and min(layer.output_shape[2:]) > 1)
    given = normalization(layer)
    given["grad"] = layer.random(*pooled_shape(layer.output_shape))
    kernels, single = get(backend), {name: tensor.float() for name, tensor in given.items()}
    with poisoned():
        z = kernels.normalize(single["y"], single["gamma"], single["shift"], None, relu)
        found, winner = kernels.normalize_pool(single["y"], single["gamma"], single["shift"], relu)
        after = [single[name] for name in ("y", "mean", "invstd", "gamma")]
        gradients = kernels.normalize_pool_backward(single["grad"], winner, *after)
    expected, place = nnf.max_pool2d(z, 2, return_indices=True)
    width = z.shape[3]
    assert torch.equal(found, expected)
    dead = expected <= 0 if relu else torch.zeros_like(expected, dtype=torch.bool)
    assert torch.equal(winner, torch.where(dead, DEAD, place // width % 2 * 2 + place % width % 2).byte())
    spread = torch.zeros_like(given["y"]).flatten(2)
    spread.scatter_(2, place.flatten(2), torch.where(dead, 0, given["grad"]).flatten(2))
    given["grad"] = spread.view_as(z)
    exact = REFERENCE.normalize_backward(
        given["grad"], None, *(given[name] for name in ("y", "mean", "invstd", "gamma"))
    )
    names = ("grad_y", "grad_gamma", "grad_beta")
    for name, a, b, terms in zip(names, exact, gradients, normalization_terms(given)[1:], strict=False):
        assert worst(a, b, terms) <= BOUND, name


def test_statistics_where_the_mean_is_far_larger_than_the_spread() -> None:
    """K = 4608: |mean| / std passes 100, where E[y²] − E[y]² in float32 errs by percents (eq. 9)."""
    layer = Layer((6, 512, 7, 7), 5, (3, 3), Geometry(padding=(0, 0)))
    x, weight, _ = (tensor.float() for tensor in layer.numbers())
    weight = 4 * weight
    for backend in BACKENDS:
        if backend == "reference":
            continue
        y, mean, variance = get(backend).forward_moments(x, weight, layer.geometry)
        exact_variance, exact_mean = torch.var_mean(y.double(), (0, 2, 3), correction=0)
        assert (exact_mean.abs() / exact_variance.sqrt()).max() > 129
        assert ((mean - exact_mean).abs() / exact_mean.abs()).max() <= 2e-7, backend
        assert ((variance - exact_variance).abs() / exact_variance).max() <= 1e-5, backend


# --- through the public operation: memory formats and half types


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", [*LAYOUTS, "expanded"])
def test_any_memory_format_gives_the_same_bits(backend: str, layout: str) -> None:
    layer = Layer((3, 4, 6, 7), 6, (3, 2), Geometry((2, 1), (1, 1), (1, 2), 2))
    plain = [tensor.float() for tensor in layer.numbers()]
    if layout == "expanded":
        plain = [tensor[:1].expand_as(tensor) for tensor in plain]
        shown = plain
        plain = [tensor.contiguous() for tensor in plain]
    else:
        shown = [arranged(tensor, layout) for tensor in plain]
    results = []
    for x, weight, grad in (plain, shown):
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        y = adder_conv2d(x, weight, **layer.arguments, backend=backend)
        results.append((y.detach(), *torch.autograd.grad(y, (x, weight), grad)))
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_types_are_rounded_once(backend: str, half: torch.dtype) -> None:
    layer = Layer((2, 5, 6, 7), 6, (3, 3), Geometry(padding=(1, 1)))
    x, weight, grad = (tensor.to(half) for tensor in layer.numbers())
    results = []
    for kind in (torch.float32, half):
        a, b = x.to(kind).requires_grad_(), weight.to(kind).requires_grad_()
        y = adder_conv2d(a, b, **layer.arguments, backend=backend)
        results.append((y.detach(), *torch.autograd.grad(y, (a, b), grad.to(kind))))
    for single, rounded in zip(*results, strict=True):
        assert rounded.dtype == half
        assert torch.equal(single.to(half), rounded)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_of_everything_and_none(backend: str) -> None:
    one = torch.full((1, 1, 1, 1), 3.0)
    y = adder_conv2d(one.requires_grad_(), torch.ones(1, 1, 1, 1), backend=backend)
    assert y.item() == -2
    y.backward()
    assert one.grad is not None
    assert one.grad.item() == -1
    none, weight = torch.zeros(0, 2, 5, 5, requires_grad=True), torch.ones(3, 2, 3, 3, requires_grad=True)
    y = adder_conv2d(none, weight, padding=1, backend=backend)
    assert y.shape == (0, 3, 5, 5)
    y.sum().backward()
    assert none.grad is not None
    assert weight.grad is not None
    assert none.grad.shape == (0, 2, 5, 5)
    assert (weight.grad == 0).all()
