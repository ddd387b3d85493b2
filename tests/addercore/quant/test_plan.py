"""Formats, histograms, groups and steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from addercore.quant.calibrate import Quantiles, histograms
from addercore.quant.emit import power_of_two
from addercore.quant.graph import floats
from addercore.quant.grids import aligned, grouping, kmeans, steps
from addercore.quant.lower import lower
from addercore.quant.plan import format_for, value_bits
from addercore.runtime.program import SCORES
from tests.addercore.quant.models import SHAPES, images_for, layer_of, model_of


@given(low=st.floats(-100, 100), high=st.floats(-100, 100), bits=st.integers(2, 8))
def test_a_format_covers_its_range_and_has_a_code_for_zero(low: float, high: float, bits: int) -> None:
    low, high = min(low, high), max(low, high)
    found = format_for(low, high, bits)
    assert found.scale > 0
    assert 0 <= found.zero <= found.top == 2**bits - 1
    assert found.low <= min(low, 0) + 1e-9
    assert found.high >= max(high, 0) - 1e-9
    assert found.real(torch.tensor([found.zero])).item() == 0.0
    assert found.zero == 0 or low < 0
    codes = torch.arange(found.top + 1)
    assert torch.equal(found.codes(found.real(codes)).long(), codes)


def test_histograms_give_quantiles_of_every_value() -> None:
    graph = lower(model_of())
    images = torch.from_numpy(images_for(SHAPES["lenet5_bn"], 70))  # two batches
    found = histograms(graph, images)
    exact = floats(graph, images)
    assert set(found) == set(exact)
    for number in (0, 1, SCORES):
        values = exact[number].flatten()
        assert found[number].range(0.0) == (float(values.min()), float(values.max()))
        low, high = found[number].range(0.02)
        width = (found[number].high - found[number].low) / 4096
        assert low == pytest.approx(float(values.quantile(0.02)) if len(values) < 2**24 else low, abs=2 * width)
        assert high == pytest.approx(float(values.quantile(0.98)), abs=2 * width)


def test_a_constant_value_has_a_histogram() -> None:
    assert Quantiles(2.0, 2.0, torch.ones(1)).range(0.01) == (2.0, 2.0)


def test_kmeans_separates_what_lies_apart() -> None:
    values = torch.tensor([1.0, 1.1, 5.0, 5.2, 9.0, 1.05, 9.1])
    assert kmeans(values, 3).tolist() == [0, 0, 1, 1, 2, 0, 2]
    assert kmeans(torch.ones(4), 8).tolist() == [0, 0, 0, 0]
    assert int(kmeans(torch.rand(50, generator=torch.Generator().manual_seed(0)), 8).max()) == 7


def test_groups_have_ranges_of_their_own_and_shifts_keep_steps_apart_by_powers_of_two() -> None:
    source = format_for(0.0, 4.0, 8)
    weight = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9).view(8, 1, 1, 1)
    layer = layer_of(weight)
    found = grouping(layer, source, 4, 4, "multiply")
    assert len(found.step) == 4
    highest = found.low + 15 * found.step
    for number in range(4):
        mine = weight[found.group == number].clamp(0, 4).double()
        assert mine.max().item() == pytest.approx(highest[number].item())
        assert mine.min().item() == pytest.approx(found.low[number].item())
    shifted = grouping(layer, source, 4, 4, "shift")
    ratios = (shifted.step / source.scale).log2()
    torch.testing.assert_close(ratios, ratios.round())
    assert (shifted.step >= found.step - 1e-9).all()


def test_steps_hold_the_largest_weight_at_8_bits_and_cut_it_off_at_3() -> None:
    weight = torch.randn(4, 40, 3, 3, generator=torch.Generator().manual_seed(1))
    layer = layer_of(weight, kind="conv")
    largest = weight.abs().amax((1, 2, 3)).double()
    eight, three = steps(layer, 8), steps(layer, 3)
    torch.testing.assert_close(eight.step * 127, largest)
    assert (three.step * 3 < largest).all()
    source = format_for(0.0, 4.0, 8)
    found = aligned(eight, layer, source, 0.013)
    factors = (layer.gain * found.step * source.scale / 0.013).log2()
    torch.testing.assert_close(factors, factors.round())
    assert (found.step >= eight.step * (1 - 1e-9)).all()
    assert (found.step < 2 * eight.step).all()


def test_powers_of_two_are_the_nearest_ones() -> None:
    values = torch.tensor([0.0, 1.0, -3.0, 1.4, 1.42, -0.3], dtype=torch.float64)
    assert power_of_two(values).tolist() == [0.0, 1.0, -4.0, 1.0, 2.0, -0.25]


def test_what_adder_layers_read_has_few_bits_and_the_rest_eight() -> None:
    graph = lower(model_of("resnet20", "adder", "conv"))
    found = value_bits(graph, "adder", 4, 1)
    by_name = {layer.name: layer for layer in graph.layers}
    shared = graph.stored_in()
    assert found[0] == 8  # the first layer is a convolution
    assert found[shared[by_name["stage1.block1.body.conv1"].source]] == 4
    assert found[shared[by_name["classifier"].source]] == 8
    assert found[by_name["stage2.block1.shortcut.conv"].target] == 8  # is only added
    assert value_bits(graph, "adder", 4, 3)[shared[by_name["stage1.block1.body.conv1"].source]] == 8
    twin = lower(model_of("resnet20", "conv", "conv"))
    assert value_bits(twin, "conv", 5, 1)[0] == 5
