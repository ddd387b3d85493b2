"""Float models in ONNX give the module's scores in ONNX Runtime, whatever the network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addercore.arch import BINARY, Network
from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Linear, MaxPool, ReLU, Residual, Sequential
from addercore.export import float_model
from addercore.export.onnx_graph import OPSET
from addercore.io import Model
from addercore.networks import build
from tests.addercore.export.sessions import run
from tests.addercore.quant.models import SHAPES, images_for, model_of

onnx = pytest.importorskip("onnx")
SEEN = 32
"""Images behind the normalisations' statistics: few let rounding grow through the deep networks."""


def scores_of(model: Model, images: Any, kind: torch.dtype) -> Any:
    """The module's scores, computed in `kind`."""
    pixels = torch.from_numpy(images).to(kind) / 255
    mean, std = (torch.tensor(one, dtype=kind).view(1, -1, 1, 1) for one in (model.mean, model.std))
    with torch.inference_mode():
        scores = model.module.to(kind)((pixels - mean) / std).numpy()
    model.module.float()
    return scores


def agrees(model: Model, count: int = 2) -> None:
    """Within 1e-4 of the scores in float64; where torch's own float32 is further from them, within 16 times that: the
    order of its sums is one of many, and deep networks enlarge what it rounds."""
    images = images_for(model.network.input_shape, count, seed=4)
    found, expected = run(float_model(model), images), scores_of(model, images, torch.float64)
    assert found.dtype == np.float32
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max(), "these images say nothing"
    usual = np.abs(scores_of(model, images, torch.float32) - expected).max()
    assert np.abs(found - expected).max() <= max(1e-4 * np.abs(expected).max(), 16 * usual)


@pytest.mark.parametrize(("method", "first_last"), [("adder", "adder"), ("adder", "conv"), ("conv", "conv")])
@pytest.mark.parametrize("arch", SHAPES)
def test_every_network_gives_its_scores(arch: str, method: str, first_last: str) -> None:
    agrees(model_of(arch, method, first_last, seen=SEEN))


def test_a_depthwise_layer_is_no_more_nodes_than_another() -> None:
    layers = len(model_of("mobilenet_v2").network.layers())
    assert len(float_model(model_of("mobilenet_v2")).graph.node) < 8 * layers


def odd_model(method: str) -> Model:
    """Groups, dilation, sides that differ, and a sum that no layer takes along."""
    block = Sequential("body", (Conv("conv", 6, 6, (1, 3), padding=(0, 1)), BatchNorm("bn", 6), ReLU("relu")))
    first = Conv("conv", 4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2, role="first")
    children = (
        *(first, BatchNorm("bn", 6), MaxPool("pool", 3, stride=2, padding=1), Residual("block", block), ReLU("relu")),
        *(AvgPool("mean"), Flatten("flatten"), Linear("fc", 6, 3, role="last"), BatchNorm("fc_bn", 3)),
    )
    net = Network("odd", (4, 9, 12), 3, Sequential("", children))
    module = build(net, method, seed=1)
    manifest = {
        "network": {"arch": "odd", "method": method, "first_last": "adder"},
        "preprocessing": {"mean": [0.1, 0.2, 0.3, 0.4], "std": [0.5, 0.6, 0.7, 0.8]},
        "classes": ["a", "b", "ü"],
    }
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.momentum = None  # the statistics of the images below alone
    model = Model(net, module.train(), manifest)
    scores_of(model, images_for(net.input_shape, 16), torch.float32)
    module.eval()
    return model


@pytest.mark.parametrize("method", ["adder", "conv"])
def test_groups_dilation_and_sums_of_their_own(method: str) -> None:
    agrees(odd_model(method), count=5)


def test_the_model_says_what_it_is() -> None:
    made = float_model(odd_model("adder"))
    onnx.checker.check_model(made, full_check=True)
    about = {entry.key: entry.value for entry in made.metadata_props}
    assert json.loads(about["classes"]) == ["a", "b", "ü"]
    assert (about["arch"], about["method"]) == ("odd", "adder")
    (pixels,), (scores,) = made.graph.input, made.graph.output
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [side.dim_param or side.dim_value for side in pixels.type.tensor_type.shape.dim] == ["batch", 4, 9, 12]
    assert [side.dim_param or side.dim_value for side in scores.type.tensor_type.shape.dim] == ["batch", 3]
    assert {(one.domain, one.version) for one in made.opset_import} == {("", OPSET), ("adderworks", 1)}


def test_adder_layers_are_functions_of_standard_operators() -> None:
    made = float_model(odd_model("adder"))
    assert {function.name for function in made.functions} == {"Windows", "Distances"}
    assert {node.domain for function in made.functions for node in function.node} == {""}
    assert not float_model(odd_model("conv")).functions
    assert "Conv" not in {node.op_type for node in made.graph.node}


def test_equal_models_give_equal_bytes() -> None:
    one, other = (float_model(odd_model("adder")).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


MEASURE = """
import sys
import numpy as np, onnxruntime
def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
before = peak()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"pixels": np.zeros((1, 3, 224, 224), np.uint8)})
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
def test_resnet18_runs_within_256_mib_beside_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(float_model(model_of("resnet18", shape=(3, 224, 224), seen=2)).SerializeToString())
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    beside = int(done.stdout) - path.stat().st_size
    assert 0 < beside < 256 * 2**20


@pytest.mark.parametrize("method", BINARY)
def test_binary_methods_are_refused_by_name(method: str) -> None:
    with pytest.raises(ValueError, match=f"method '{method}' has no form in ONNX"):
        float_model(model_of("lenet5_bn", method, "conv"))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'adderworks\[onnx\]'"):
        float_model(odd_model("adder"))
