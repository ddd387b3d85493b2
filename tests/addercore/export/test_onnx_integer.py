"""Integer models in ONNX give the scores of the definition in ONNX Runtime, bit for bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from addercore import quant
from addercore.export import integer_model
from addercore.runtime import reference
from addercore.runtime.program import SCORES, Adder, Clipping, Dot, Program, Rescale, Window
from tests.addercore.export.sessions import run
from tests.addercore.quant.models import images_for, model_of
from tests.addercore.runtime.programs import random_images, random_program

onnx = pytest.importorskip("onnx")


def agrees(program: Program, images: Any) -> None:
    assert run(integer_model(program), images).tobytes() == reference.run(program, images).tobytes()


@pytest.mark.parametrize("seed", range(24))
def test_random_programs_agree_with_the_definition(seed: int) -> None:
    program = random_program(seed)
    agrees(program, random_images(program, 3, seed))


@pytest.mark.parametrize("seed", range(200, 212))
def test_clipping_agrees_with_the_definition(seed: int) -> None:
    program = random_program(seed, clips=True)
    agrees(program, random_images(program, 2, seed))


@pytest.mark.parametrize("rescale", ["multiply", "shift"])
@pytest.mark.parametrize(("method", "first_last"), [("adder", "adder"), ("adder", "conv"), ("conv", "conv")])
def test_a_quantised_lenet_agrees_with_the_definition(method: str, first_last: str, rescale: Any) -> None:
    model = model_of("lenet5_bn", method, first_last)
    made = quant.quantize(model, images_for((1, 32, 32), 40), rescale=rescale, bits=6)
    agrees(made.program, images_for((1, 32, 32), 2, seed=5))


@pytest.mark.parametrize(("arch", "method"), [("mobilenet_v2", "adder"), ("custom", "adder"), ("custom", "conv")])
def test_groups_of_channels_agree_with_the_definition(arch: str, method: str) -> None:
    model = model_of(arch, method, "adder" if method == "adder" else "conv", seen=16)
    images = images_for(model.network.input_shape, 40)
    agrees(quant.quantize(model, images, bits=6, correction="none", search=False).program, images[:2])


def nodes_of(channels: int) -> int:
    """Of a depthwise layer whose filters see the source through one of two tables."""
    shape = (channels, 4, 4)
    rescale = Rescale(np.full(channels, -1, np.int32), np.full(channels, 2000, np.int64), 3, 255)
    clipping = Clipping(
        (np.arange(channels) % 2).astype(np.uint8),
        np.stack([np.arange(256), np.minimum(np.arange(256), 9)]).astype(np.uint8),
        np.stack([np.zeros(256), np.maximum(np.arange(256) - 9, 0)]).astype(np.uint16),
        np.full(channels, -1, np.int32),
    )
    weights = np.random.default_rng(channels).integers(0, 256, (channels, 1, 3, 3), dtype=np.uint8)
    window = Window((3, 3), padding=(1, 1), groups=channels, pad=20)
    layer = Adder("depthwise", 0, 1, weights, window, rescale, clipping=clipping)
    last = Rescale(np.full(2, 3, np.int32), np.zeros(2, np.int64), 3, 0)
    scores = Dot("last", 1, SCORES, np.ones((2, *shape), np.int8), Window((4, 4)), last)
    tables = np.broadcast_to(np.arange(256, dtype=np.uint8), (channels, 256))
    program = Program(shape, tables, (shape, shape), (layer, scores), {})
    agrees(program, images_for(shape, 2))
    return len(integer_model(program).graph.node)


def test_a_depthwise_layer_has_as_many_nodes_whatever_its_channels() -> None:
    assert nodes_of(6) == nodes_of(64)


def extreme(multiplier: int, bias: int, shift: int) -> Program:
    """Two layers of one weight: the first one's totals are as large as allowed, or negative."""
    window = Window((1, 1))
    first = Rescale(np.array([multiplier], np.int32), np.array([bias], np.int64), shift, 255)
    last = Rescale(np.array([-3], np.int32), np.array([1], np.int64), 3, 0)
    weights = np.zeros((1, 1, 1, 1), np.uint8)
    layers = (Adder("first", 0, 1, weights, window, first), Adder("last", 1, SCORES, weights, window, last))
    tables = np.arange(256, dtype=np.uint8)[None]
    return Program((1, 1, 1), tables, ((1, 1, 1), (1, 1, 1)), layers, {})


@pytest.mark.parametrize(
    ("multiplier", "bias", "shift"),
    [(2**31 - 1, 2**62, 62), (2**31 - 1, -(2**38), 32), (-1, 200, 1), (1, -1, 1), (-(2**31), 2**62, 55)],
)
def test_totals_at_the_ends_of_64_bits_and_below_zero(multiplier: int, bias: int, shift: int) -> None:
    agrees(extreme(multiplier, bias, shift), np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1))


def test_the_model_says_what_it_is() -> None:
    program = replace(random_program(3), manifest={"classes": ["ä"], "network": {"arch": "mine", "method": "adder"}})
    made = integer_model(program)
    onnx.checker.check_model(made, full_check=True)
    about = {entry.key: entry.value for entry in made.metadata_props}
    assert json.loads(about["classes"]) == ["ä"]
    assert (about["arch"], about["method"]) == ("mine", "adder")
    assert {tensor.data_type for tensor in made.graph.initializer}.isdisjoint({onnx.TensorProto.FLOAT})


def test_weights_take_a_byte_each_in_the_file() -> None:
    program = random_program(3)
    weights = sum(one.weights.size for one in program.operations if hasattr(one, "weights"))
    assert weights > 300_000
    assert len(integer_model(program).SerializeToString()) < weights + 50_000


def test_equal_programs_give_equal_bytes() -> None:
    one, other = (integer_model(random_program(5)).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


def test_an_inconsistent_program_is_refused() -> None:
    program = random_program(3)
    with pytest.raises(ValueError, match="value 0 has the shape"):
        integer_model(replace(program, input_shape=(1, 1, 1)))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'adderworks\[onnx\]'"):
        integer_model(random_program(3))
