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


LEARNT = {"adder": 0.3, "conv": 0.5, "xnor": 0.13}
"""Of 0.1 by chance, after two epochs: three seeds ended at 0.37 to 0.48, 0.56 to 0.71 and 0.145 to 0.195."""


@pytest.mark.parametrize("method", ["adder", "conv", "xnor"])
def test_an_own_network_trains_and_is_loaded(config: Any, tmp_path: Path, method: str) -> None:
    spec = config(model={"arch": "custom", "layers": OWN, "method": method}, epochs=2)
    result = fit(spec, workdir=tmp_path, threads=1, curves=False)
    assert result.metrics["train/accuracy"] > LEARNT[method]
    model = addercore.load(tmp_path / "model.safetensors")
    assert model.manifest["network"]["layers"] == spec.model.layer_list
    found = addercore.evaluate(model, "digits")
    assert found.accuracy == pytest.approx(result.metrics["val/accuracy"])
    again = fit(
        config(model={"arch": "custom", "layers": OWN, "method": method}, epochs=2),
        workdir=tmp_path, threads=1, curves=False, resume_from=tmp_path / "checkpoints",
    )  # fmt: skip
    assert again.step == result.step


@pytest.mark.filterwarnings("ignore:the float model takes all calibration images for one class")
@pytest.mark.parametrize(
    "method", ["adder", pytest.param("conv", marks=pytest.mark.long("1,437 images through 52 layers of torch's"))]
)
def test_a_mobilenet_trains_and_becomes_integers(config: Any, tmp_path: Path, method: str) -> None:
    model = {"arch": "mobilenet_v2", "method": method, "first_last": "conv"}
    spec = config(model=model, epochs=1, batch_size=128, dataset={"name": "digits", "holdout": 0.8})
    result = fit(spec, workdir=tmp_path, threads=1, curves=False)
    assert result.step == 3
    trained = addercore.load(tmp_path / "model.safetensors")
    images = images_for(trained.network.input_shape, 32)
    integer = quantize(trained, images, bits=8, correction="none", search=False)
    assert np.isfinite(integer.run(images[:4])).all()


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
