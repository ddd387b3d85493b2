"""`model.adder` by REST: the real inference process checks the whole file before it is a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.api.attempt import MANIFEST, model_file
from tests.api.conftest import Running

IMAGE = {"array": [[0.0] * 32] * 32}


def sent(api: httpx2.Client, content: bytes) -> httpx2.Response:
    return api.post("/v1/models", files={"weights": ("model.adder", content)})


def test_it_is_imported_once_and_predicts(whole: Running, integers: bytes) -> None:
    with whole.client() as api:
        answer = sent(api, integers)
        assert answer.status_code == 201, answer.text
        model = answer.json()
        assert (model["format"], model["source"], model["arch"], model["derived_from"]) == (
            *("adder", "imported", "lenet5_bn"),
            None,
        )
        assert sent(api, integers).status_code == 200
        assert api.get(f"/v1/models/{model['id']}/download").content == integers
        prediction = api.post(f"/v1/models/{model['id']}/predict", json=IMAGE | {"value_range": "0..1"})
        assert prediction.status_code == 200, prediction.text
        assert sum(prediction.json()["probabilities"].values()) == pytest.approx(1)


def changed_manifest(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another manifest, all checksums right."""
    from addercore.runtime import format as files

    program = files.from_bytes(content)
    change(program.manifest)
    return files.to_bytes(program)


def without_quantisation(manifest: dict[str, Any]) -> None:
    del manifest["quantisation"]


def of_other_images(manifest: dict[str, Any]) -> None:
    manifest["network"]["input_shape"] = [1, 36, 36]
    manifest["preprocessing"]["resize"] = [36, 36]


def with_fewer_classes(manifest: dict[str, Any]) -> None:
    manifest["classes"].pop()


def of_an_unknown_network(manifest: dict[str, Any]) -> None:
    manifest["network"]["arch"] = "lenet6"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_quantisation, "'quantisation' is missing"),
        (of_other_images, "takes [1, 36, 36], the integers [1, 32, 32]"),
        (with_fewer_classes, "classes must be 10 names"),
        (of_an_unknown_network, "unknown arch 'lenet6'"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    whole: Running, integers: bytes, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with whole.client() as api:
        refused = sent(api, changed_manifest(integers, change))
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_model")
        assert says in refused.json()["detail"]
        assert api.get("/v1/models").json()["data"] == []


def test_float_weights_stay_float_weights_whatever_their_manifest_says(whole: Running) -> None:
    manifest = MANIFEST | {"quantisation": "yes"}
    with whole.client() as api:
        model = sent(api, model_file(manifest)).raise_for_status().json()
        assert model["format"] == "safetensors"
        page = api.get(f"/models/{model['id']}", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "download?format=safetensors" in page.text


def test_the_page_says_what_the_integers_are(whole: Running, integers: bytes) -> None:
    with whole.client() as api:
        model = sent(api, integers).raise_for_status().json()
        page = api.get(f"/models/{model['id']}", headers={"Accept": "text/html"}).text
        assert "8 bits, multiplied scales" in page
        assert "download?format=adder" in page


def test_a_damaged_file_is_refused_and_is_no_model(whole: Running, integers: bytes) -> None:
    flipped = bytearray(integers)
    flipped[-100] ^= 1  # a weight; only its section's checksum tells
    with whole.client() as api:
        for content in (integers[:-1], integers[:100], bytes(flipped), integers + b"\0"):
            refused = sent(api, content)
            assert (refused.status_code, refused.json()["code"]) == (422, "bad_model"), refused.text
            assert str(whole.settings.data_dir) not in refused.text
        assert api.get("/v1/models").json()["data"] == []


def test_what_it_costs_is_counted_in_the_file_and_not_in_its_manifest(whole: Running, integers: bytes) -> None:
    whole.settings.max_predict_operations = 500_000
    with whole.client() as api:
        refused = sent(api, integers)
        assert (refused.status_code, refused.json()["code"]) == (422, "too_costly")
        assert "416,520" not in refused.text


def test_without_inference_it_says_so(lite_api: httpx2.Client, integers: bytes) -> None:
    refused = sent(lite_api, integers)
    assert (refused.status_code, refused.json()["code"]) == (503, "inference_unavailable")
    assert "inference process" in refused.json()["detail"]
