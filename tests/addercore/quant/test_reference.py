"""Programs run by torch have the bits of the reference, value by value."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from addercore.quant import fast, quantize
from addercore.quant.grids import grouping
from addercore.quant.operands import distance, operand, sums
from addercore.quant.plan import Plan, format_for
from addercore.runtime import reference
from addercore.runtime.program import Add, Adder, Dot, Program, Window
from tests.addercore.quant.models import SHAPES, images_for, layer_of, model_of, only_powers_of_two

FEW = pytest.mark.filterwarnings("ignore:.*calibration images")
pytestmark = FEW


def compare(program: Program, images: Any) -> None:
    found = fast.values(program, images)
    for number, image in enumerate(images):
        for key, value in reference.trace(program, image).items():
            np.testing.assert_array_equal(found[key][number].numpy(), value, err_msg=f"value {key}")


@pytest.mark.parametrize("rescale", ["multiply", "shift"])
@pytest.mark.parametrize(
    ("arch", "method", "first_last", "bits", "groups"),
    [
        ("lenet5_bn", "adder", "adder", 8, 1),
        ("lenet5_bn", "adder", "adder", 4, 3),
        ("lenet5_bn_2d", "adder", "conv", 5, 1),
        ("lenet5_bn", "conv", "conv", 8, 1),
        ("lenet5_bn", "conv", "conv", 3, 1),
        ("resnet20", "adder", "conv", 8, 1),
        ("resnet20", "adder", "adder", 4, 2),
        ("resnet20", "conv", "conv", 8, 1),
        ("vgg_small", "adder", "adder", 6, 1),
    ],
)
def test_torch_gives_the_integers_of_the_reference(
    arch: str, method: str, first_last: str, bits: int, groups: int, rescale: Any
) -> None:
    model = model_of(arch, method, first_last)
    images = images_for(SHAPES[arch], 6)
    found = quantize(model, images, bits=bits, groups=groups, rescale=rescale, search=False)
    compare(found.program, images[:1])
    if rescale == "shift":
        only_powers_of_two(found.program)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet50_v1.5", "alexnet"])
def test_large_architectures_become_programs(arch: str) -> None:
    model = model_of(arch, "adder", "conv")
    images = images_for(SHAPES[arch], 4)
    found = quantize(model, images, search=False, calibration_images=2)
    assert found.run(images).shape == (4, 4)
    assert all(one.residual is None or one.rescale.residual_multiplier > 0 for one in added(found.program))
    assert bool(added(found.program)) == arch.startswith("resnet")


def added(program: Program) -> list[Any]:
    return [one for one in program.operations if isinstance(one, Adder | Dot | Add) and one.residual is not None]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), low=st.floats(-3, 0), high=st.floats(0.5, 4),
    groups=st.integers(1, 4), padding=st.integers(0, 1),
)  # fmt: skip
def test_clipping_changes_no_distance(seed: int, bits: int, low: float, high: float, groups: int, padding: int) -> None:
    """For x on the grid, Σ|x − f| = step · acc + constant, but for the rounding of each weight (and table entry)."""
    generator = torch.Generator().manual_seed(seed)
    source = format_for(low, high, 8 if groups > 1 else bits)
    codes = torch.randint(0, source.top + 1, (2, 3, 5, 5), generator=generator)
    layer = layer_of(torch.randn(6, 3, 3, 3, generator=generator) * 2, Window((3, 3), padding=(padding, padding)))
    grid = grouping(layer, source, groups, bits, "multiply")
    plan = Plan(bits, groups, "multiply", {}, {"layer": grid})
    found = operand(layer, plan, source)
    y = distance(found, *sums(layer, found, codes, source))
    x = torch.nn.functional.pad((codes.double() - source.zero) * source.scale, (padding,) * 4)
    windows = x.unfold(2, 3, 1).unfold(3, 3, 1)
    exact = -(windows[:, None] - layer.weight.double()[None, :, :, None, None]).abs().sum((2, 5, 6))
    # a weight is off by half a step; with groups so is a table's entry, and the excess by half a part of a step
    bound = layer.taps * (found.step if groups > 1 else found.step / 2) + (layer.taps * found.excess_step / 2)
    assert ((y - exact).abs() <= bound.view(1, -1, 1, 1) + 1e-6).all()


def test_exactly_representable_weights_lose_nothing_at_all() -> None:
    source = format_for(0.0, 1.5, 4)
    weight = torch.tensor([-7.0, -0.1, 0.0, 0.3, 1.5, 9.0]).view(2, 3, 1, 1) // 0.1 * 0.1
    layer = layer_of(weight)
    plan = Plan(4, 1, "multiply", {}, {"layer": grouping(layer, source, 1, 4, "multiply")})
    found = operand(layer, plan, source)
    codes = torch.arange(16).view(16, 1, 1, 1).expand(16, 3, 1, 1)
    y = distance(found, *sums(layer, found, codes, source))
    exact = -(source.real(codes)[:, None] - layer.weight[None]).abs().sum((2, 3, 4)).view(16, 2, 1, 1)
    torch.testing.assert_close(y, exact.double(), rtol=0, atol=1e-5)


def test_a_damaged_program_does_not_compare_equal() -> None:
    """The comparison above sees one changed weight."""
    model = model_of()
    images = images_for(SHAPES["lenet5_bn"], 4)
    program = quantize(model, images, search=False).program
    first = program.operations[0]
    assert isinstance(first, Adder)
    weights = first.weights.copy()
    weights[0, 0, 0, 0] ^= 255
    damaged = replace(program, operations=(replace(first, weights=weights), *program.operations[1:]))
    assert not np.array_equal(fast.run(damaged, images), fast.run(program, images))
