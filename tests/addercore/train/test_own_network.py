"""A network of one's own and MobileNetV2, from training to integers and exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import addercore
from addercore import fit
from addercore.export.c import c_source
from addercore.quant.model import quantize
from tests.addercore.quant.models import OWN, images_for, model_of

pytestmark = pytest.mark.bits


@pytest.mark.parametrize("method", ["adder", "conv", "xnor"])
def test_an_own_network_trains_and_is_loaded(config: Any, tmp_path: Path, method: str) -> None:
    spec = config(model={"arch": "custom", "layers": OWN, "method": method}, epochs=2)
    result = fit(spec, workdir=tmp_path, threads=1, curves=False)
    assert result.metrics["train/accuracy"] > 0.15
    model = addercore.load(tmp_path / "model.safetensors")
    assert model.manifest["network"]["layers"] == spec.model.layer_list
    found = addercore.evaluate(model, "digits")
    assert found.accuracy == pytest.approx(result.metrics["val/accuracy"])
    again = fit(
        config(model={"arch": "custom", "layers": OWN, "method": method}, epochs=2),
        workdir=tmp_path, threads=1, curves=False, resume_from=tmp_path / "checkpoints",
    )  # fmt: skip
    assert again.step == result.step


@pytest.mark.parametrize("arch", ["custom", "mobilenet_v2"])
@pytest.mark.parametrize("method", ["adder", "conv"])
def test_it_becomes_integers_and_is_exported(arch: str, method: str) -> None:
    model = model_of(arch, method, "conv" if arch == "mobilenet_v2" else "adder", seen=16)
    shape = model.network.input_shape
    integer = quantize(model, images_for(shape, 32), bits=8, correction="none", search=False)
    images = images_for(shape, 4, seed=3)
    assert np.isfinite(integer.run(images)).all()
    if arch == "custom":
        assert "adder_run" in c_source(integer.program) or "int" in c_source(integer.program)
    onnx_float = pytest.importorskip("addercore.export.onnx_float")
    pytest.importorskip("onnx")
    assert onnx_float.float_model(model).ByteSize() > 1000


@pytest.mark.parametrize("arch", ["custom", "mobilenet_v2"])
def test_binary_ones_are_refused_by_name_as_integers(arch: str) -> None:
    model = model_of(arch, "bwn", "conv")
    with pytest.raises(ValueError, match="bwn"):
        quantize(model, images_for(model.network.input_shape, 8))
