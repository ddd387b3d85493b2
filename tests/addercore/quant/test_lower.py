"""The fused graph is the float network, for every architecture."""

import copy
from dataclasses import replace

import pytest
import torch

from addercore.arch import ARCHS
from addercore.arch.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Network,
    Node,
    ReLU,
    Residual,
    Sequential,
)  # fmt: skip
from addercore.errors import BadModel
from addercore.io import Model
from addercore.networks import build
from addercore.quant.graph import Addition, computed, floats
from addercore.quant.lower import lower
from addercore.runtime.program import SCORES
from tests.addercore.quant.models import SHAPES, images_for, model_of

CASES = [
    (arch, method, first_last)
    for arch in ARCHS
    for method, first_last in (("adder", "adder"), ("adder", "conv"), ("conv", "conv"))
]
LARGE = ("resnet50", "resnet50_v1.5", "resnet18", "alexnet")


@pytest.mark.parametrize(
    ("arch", "method", "first_last"), [one for one in CASES if one[0] not in LARGE or one[1:] == ("adder", "conv")]
)
def test_fused_operations_compute_what_the_module_does(arch: str, method: str, first_last: str) -> None:
    model = model_of(arch, method, first_last, seen=16)
    images = torch.from_numpy(images_for(SHAPES[arch], 3))
    graph = lower(model)
    with torch.no_grad():
        x = graph.normalised(images)
        expected = model.module(x)
        exactly = copy.deepcopy(model.module).double()(x.double())
        rounding = float((exactly - expected).abs().max())
        wide = graph.with_layers({one.name: replace(one, weight=one.weight.double()) for one in graph.layers})
        values = {0: x.double()}
        for node in wide.nodes:
            values[node.target] = computed(node, values)
    torch.testing.assert_close(values[SCORES].flatten(1), exactly, rtol=1e-7, atol=1e-7)
    # In float32 fifty adder layers blow rounding up: the module is so far from its float64, and the graph, which rounds
    # elsewhere, from the module. A wrong operation shows in float64 above.
    torch.testing.assert_close(
        floats(graph, images)[SCORES].flatten(1), expected, rtol=1e-3, atol=max(1e-3, 4 * rounding)
    )


def test_a_body_without_a_layer_at_its_end_becomes_an_addition() -> None:
    children: tuple[Node, ...] = (
        Conv("conv", 1, 4, (3, 3), padding=(1, 1), role="first"),
        BatchNorm("bn", 4),
        ReLU("relu"),
        Residual("block", Sequential("body", (MaxPool("pool", 3, stride=1, padding=1),))),
        AvgPool("average"),
        Flatten("flatten"),
        Linear("last", 4, 3, role="last"),
    )
    net = Network("own", (1, 6, 6), 3, Sequential("", children))
    module = build(net, seed=0).eval()
    manifest = {**model_of().manifest, "classes": ["a", "b", "c"]}
    model = Model(net, module, manifest)
    graph = lower(model)
    assert any(isinstance(node, Addition) for node in graph.nodes)
    images = torch.from_numpy(images_for((1, 6, 6), 2))
    with torch.no_grad():
        expected = module(graph.normalised(images))
    torch.testing.assert_close(floats(graph, images)[SCORES].flatten(1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["bnn", "xnor", "bwn"])
def test_binary_methods_are_refused_by_name(method: str) -> None:
    with pytest.raises(ValueError, match=method):
        lower(model_of("lenet5_bn", method, "conv"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    model = model_of()
    with torch.no_grad():
        model.module.get_submodule("conv2").weight[0, 0, 0, 0] = value  # type: ignore[operator]
    with pytest.raises(BadModel, match=r"conv2\.weight"):
        lower(model)
