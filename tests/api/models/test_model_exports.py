"""Models as ONNX and C by REST: made by the real inference process, read back by their own programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from adderclient import Client
from addercore import runtime
from tests.api.conftest import Running


@pytest.fixture
def models(whole: Running, digits_model: Path, integers: bytes) -> dict[str, str]:
    """Ids of a float model and of an integer one."""
    whole.settings.max_predictions = 1  # what a conversion takes it must give back
    files = {"safetensors": digits_model.read_bytes(), "adder": integers}
    with whole.client() as api:
        return {
            format: api.post("/v1/models", files={"weights": content}).raise_for_status().json()["id"]
            for format, content in files.items()
        }


def test_onnx_runtime_gives_the_answers(
    whole: Running, models: dict[str, str], integers: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.adder").write_bytes(integers)
    engine = runtime.load(tmp_path / "model.adder")
    images = np.random.default_rng(0).integers(0, 256, (3, *engine.input_shape), np.uint8)
    found = {}
    with whole.client() as api:
        for format, model in models.items():
            answer = api.get(f"/v1/models/{model}/download?format=onnx")
            assert answer.status_code == 200, answer.text
            assert f'filename="{model}.onnx"' in answer.headers["content-disposition"]
            assert int(answer.headers["content-length"]) == len(answer.content)
            onnx.checker.check_model(onnx.load_from_string(answer.content), full_check=True)
            session = onnxruntime.InferenceSession(answer.content)
            (found[format],) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_array_equal(found["adder"], engine.run(images))
    np.testing.assert_array_equal(found["safetensors"].argmax(1), found["adder"].argmax(1))


def test_c_source_is_of_integer_models(whole: Running, models: dict[str, str]) -> None:
    with whole.client() as api:
        header = api.get(f"/v1/models/{models['adder']}/download?format=c")
        assert "void lenet5_bn_run(const uint8_t *pixels, float *scores)" in header.text
        assert header.text == api.get(f"/v1/models/{models['adder']}/download?format=c").text
        refused = api.get(f"/v1/models/{models['safetensors']}/download?format=c")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert "kind quantize" in refused.json()["detail"]


def test_the_client_compares_what_it_fetches(whole: Running, models: dict[str, str], tmp_path: Path) -> None:
    with Client(whole.url) as client:
        for format, name in (("onnx", "model.onnx"), ("c", "model.h")):
            folder = Path(client.models.export(models["adder"], tmp_path / format, format=format))
            fetched = client.models.download(models["adder"], tmp_path / f"{format}.again", format=format)
            assert (folder / name).read_bytes() == fetched.read_bytes() != b""


def test_what_the_inference_process_refuses_is_a_conflict(
    whole: Running, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from addercore.export import c

    monkeypatch.setattr(c, "MOST_C_WEIGHTS", 100)
    with whole.client() as api:
        for _ in range(2):
            refused = api.get(f"/v1/models/{models['adder']}/download?format=c")
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
            assert "adder_run.h" in refused.json()["detail"]


def test_without_onnx_it_says_what_to_install(
    whole: Running, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with whole.client() as api:
        answer = api.get(f"/v1/models/{models['adder']}/download?format=onnx")
        assert (answer.status_code, answer.json()["code"]) == (503, "inference_unavailable")
        assert "pip install 'adderworks[onnx]'" in answer.json()["detail"]
