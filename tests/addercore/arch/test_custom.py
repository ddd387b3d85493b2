"""Networks from a list of layers, and MobileNetV2: shapes, counts, bounds."""

from typing import Any

import pytest

from addercore.arch import ARCHS, check_manifest, count, network
from addercore.arch.custom import MAX_LAYERS, check_layers
from addercore.config import InvalidConfig, TrainConfig
from addercore.errors import BadModel
from tests.addercore.quant.models import OWN, model_of

SHAPE = (1, 32, 32)


def own(layers: Any, **model: Any) -> TrainConfig:
    return TrainConfig.from_dict(
        {"model": {"arch": "custom", "layers": layers, **model}, "dataset": {"name": "digits"}}
    )


def test_layers_are_placed_and_counted() -> None:
    counts = own(OWN).counts()
    found = {layer.name: (layer.kind, layer.output_shape, layer.parameters) for layer in counts.layers}
    assert found["conv1"] == ("adder_conv", (8, 32, 32), 8 * 9)
    assert found["pool2"] == ("max_pool", (8, 16, 16), 0)
    assert found["block3.body.conv1"] == ("adder_conv", (8, 8, 8), 8 * 9)
    assert found["block3.body.conv2"] == ("adder_conv", (12, 8, 8), 8 * 12)
    assert found["block3.shortcut.conv"] == ("adder_conv", (12, 8, 8), 8 * 12)
    assert found["block4.body.conv1"] == ("adder_conv", (12, 8, 8), 12 * 3 * 9)
    assert "block4.shortcut.conv" not in found, "it keeps the shape"
    assert found["fc6"] == ("adder_linear", (9,), 12 * 9)
    assert found["classifier"] == ("adder_linear", (10,), 90)
    depthwise = next(layer for layer in counts.layers if layer.name == "block3.body.conv1")
    assert depthwise.operations.add == 2 * 8 * 8 * 8 * 9


def test_mobilenet_v2_has_the_published_size() -> None:
    counts = count(network("mobilenet_v2", (3, 224, 224), 1000), "conv", "conv")
    # 3,504,872 parameters and 300.8 million multiply-accumulates, with a bias for each class and no normalisation there
    assert counts.parameters == 3_504_872 - 1000 + 2 * 1000
    assert counts.operations.mul == 300_774_272
    assert "mobilenet_v2" in ARCHS


def test_first_and_last_stay_convolutions_where_that_is_asked_for() -> None:
    kinds = {layer.name: layer.kind for layer in own(OWN, first_last="conv").counts().layers}
    assert (kinds["conv1"], kinds["fc6"], kinds["classifier"]) == ("conv", "adder_linear", "linear")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (None, "must be a list of layers, as arch is custom"),
        ([], "layers"),
        ([{"kind": "cnov"}], "must be one of conv, depthwise"),
        ([{"kind": "conv"}], "filters is required"),
        ([{"kind": "conv", "filters": 3, "groups": 2}], "groups must divide 1 channels and 3 filters, got 2"),
        (
            [{"kind": "linear", "features": 3}, {"kind": "conv", "filters": 3}],
            "takes an image, but 3 features",
        ),
        ([{"kind": "max_pool", "size": 2}], "there is no layer with weights"),
        ([{"kind": "max_pool", "size": 2}] * 6 + OWN, "too small"),
        ([{"kind": "linear", "features": 16384}] * 2, "parameters; at most 200,000,000"),
        ([{"kind": "conv", "filters": 4096}] + [{"kind": "conv", "filters": 4096, "kernel": 1}] * 4, "at most 50,000"),
        ([{"kind": "residual", "layers": [{"kind": "depthwise"}] * 100}] * 2, f"202 layers; at most {MAX_LAYERS}"),
        ([{"kind": "residual", "layers": [{"kind": "residual", "layers": []}]}], "must be one of conv, depthwise"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(layers: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        own(layers)


def test_layers_go_with_custom_alone() -> None:
    with pytest.raises(InvalidConfig, match="must be null with the arch lenet5_bn"):
        own(OWN, arch="lenet5_bn")


@pytest.mark.parametrize(
    "layers",
    [
        None,
        {},
        [3],
        [{"kind": []}],
        [{"kind": "conv", "filters": "8"}],
        [{"kind": "conv", "filters": True}],
        [{"kind": "conv", "filters": 8, "kernel": None}],
        [{"kind": "conv", "filters": 8, "stride": 0}],
        [{"kind": "conv", "filters": 8, "relu": 1}],
        [{"kind": "conv", "filters": 8, "dilation": 2}],
        [{"kind": "residual", "layers": [{"kind": "linear", "features": 3}]}],
        [{"kind": "conv", "filters": 10**9}],
        [{"kind": "avg_pool"}] * (MAX_LAYERS + 1),
    ],
)
def test_a_stored_model_with_layers_of_anybodys_making_is_refused(layers: Any) -> None:
    with pytest.raises(ValueError, match="layer"):
        check_layers(layers)
    manifest = model_of("custom").manifest
    assert check_manifest(manifest).arch == "custom"
    with pytest.raises(BadModel, match="layer"):
        check_manifest({**manifest, "network": {**manifest["network"], "layers": layers}})
