"""What a model file says of itself is bounded before it is computed with, and so is what a prediction costs."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import httpx2
import pytest

from addercore import arch
from jobs.documents import MAX_DEPTH
from jobs.settings import MIB
from tests.api.attempt import MANIFEST, model_file
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey

HUGE = 10**4000


def file_of(header: dict[str, Any] | bytes, size: int = 0) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(size)


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes


HEADERS: dict[str, bytes] = {
    "a shape of huge integers": file_of({"a": entry(shape=[HUGE] * 150)}, 4),
    "a shape of many sizes": file_of({"a": entry(shape=[2**53] * 100_000)}, 4),
    "a product beyond all bounds": file_of({"a": entry(shape=[2**53] * 8)}, 4),
    "offsets of huge integers": file_of({"a": entry(data_offsets=[0, HUGE])}, 4),
    "a type that is a list": file_of({"a": entry(dtype=["F32"])}, 4),
    "many tensors": file_of({str(n): entry(shape=[0], data_offsets=[0, 0]) for n in range(20_000)}),
    "many nested lists": file_of(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a header of 5 MiB": file_of(b'{"a": "' + b"x" * 5 * MIB + b'"}'),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_any_numbers_is_refused_at_once(lite_api: httpx2.Client, name: str) -> None:
    answer = lite_api.post("/v1/models", files={"weights": HEADERS[name]})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_model")
    assert len(answer.text) < 3000
    assert lite_api.get("/v1/models").json()["data"] == []


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


PREPROCESSING = MANIFEST["preprocessing"]
MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "300 objects in each other": ({"config": nested(300)}, f"deeper than {MAX_DEPTH} levels"),
    "an integer beyond every float": ({"metrics": {"val/accuracy": 10**400}}, "accuracy must be an integer"),
    "a float that is none": ({"metrics": {"val/loss": float("inf")}}, "/metrics/val~1loss must be a finite number"),
    "a lone surrogate": ({"classes": [*"012345678", "\ud800"]}, "/classes/9 has a lone surrogate"),
    "the least float as std": ({"preprocessing": PREPROCESSING | {"std": [5e-324]}}, "std must be from 1e-06 to 1e+06"),
    "a std of NaN": ({"preprocessing": PREPROCESSING | {"std": [float("nan")]}}, "std must be from"),
    "a huge mean": ({"preprocessing": PREPROCESSING | {"mean": [1e300]}}, "mean must be from"),
    "a huge input_shape": (
        {"network": MANIFEST["network"] | {"input_shape": [1, 10**30, 32]}},
        "input_shape must be three integers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_could_not_be_sent_again_is_not_stored(lite_api: httpx2.Client, name: str) -> None:
    changes, words = MANIFESTS[name]
    answer = lite_api.post("/v1/models", files={"weights": model_file(MANIFEST | changes)})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_model")
    assert words in answer.json()["detail"]
    assert lite_api.get("/v1/models").json()["data"] == []
    assert lite_api.get("/models").status_code == 200


def resnet(side: int) -> bytes:
    """A ResNet-20 for images of any size: its weights are the same."""
    network = arch.network("resnet20", (3, side, side), 10)
    part = MANIFEST["network"] | {"arch": "resnet20", "input_shape": [3, side, side]}
    prepared = {"resize": [side, side], "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    return model_file(MANIFEST | {"network": part, "preprocessing": prepared}, network=network)


def test_a_model_whose_images_cost_too_much_is_not_imported(lite_api: httpx2.Client) -> None:
    answer = lite_api.post("/v1/models", files={"weights": resnet(2500)})
    assert (answer.status_code, answer.json()["code"]) == (422, "too_costly")
    assert "3×2500×2500" in answer.json()["detail"]
    assert "ADDER_MAX_PREDICT_OPERATIONS" in answer.json()["detail"]
    assert lite_api.post("/v1/models", files={"weights": resnet(32)}).status_code == 201


def test_a_stored_model_whose_images_cost_too_much_is_not_asked(
    tmp_path: Path, sqlite_url: str, valkey: Valkey
) -> None:
    """One that was trained or imported where more was allowed; no inference process hears of it."""

    def served(**bounds: Any) -> Any:
        url = "http://127.0.0.1:1"
        return running(quick_settings(tmp_path, sqlite_url, valkey.url, inference_url=url, **bounds))

    def predicted(site: Running) -> str:
        with site.client() as api:
            answer = api.post(f"/v1/models/{model}/predict", json={"array": [[1]]})
            assert answer.status_code in (422, 503)
            return str(answer.json()["code"])

    with served() as site, site.client() as api:
        model = api.post("/v1/models", files={"weights": resnet(64)}).json()["id"]
        assert predicted(site) == "inference_unavailable"
    for bounds in ({"max_predict_operations": 100_000_000}, {"max_predict_bytes": MIB}):
        with served(**bounds) as site:
            assert predicted(site) == "too_costly"
