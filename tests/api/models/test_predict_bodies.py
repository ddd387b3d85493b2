"""What a prediction may send: none of it is parsed on the event loop, and what is bad is no fault of the server."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobs.settings import MIB
from tests.api.attempt import MANIFEST, model_file
from tests.api.conftest import running
from tests.conftest import quick_settings
from tests.support.servers import Valkey

PNG = base64.b64encode(b"\x89PNG").decode()


@pytest.fixture
def api(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[httpx2.Client]:
    """No inference process answers: what gets that far is answered 503."""
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, inference_url="http://127.0.0.1:1")
    with running(settings) as site, site.client() as client:
        yield client


@pytest.fixture
def predict(api: httpx2.Client) -> str:
    model = api.post("/v1/models", files={"weights": model_file(MANIFEST)}).json()["id"]
    return f"/v1/models/{model}/predict"


BODIES: dict[str, tuple[bytes, int, str]] = {
    "16 MiB of empty lists": (b'{"array": [' + b"[]," * (5 * MIB) + b"[]]}", 413, "body_too_large"),
    "17 MiB": (b'{"array": [' + b" " * (17 * MIB) + b"]}", 413, "body_too_large"),
    "8 MiB of numbers": (b'{"array": [' + b"1.5," * (2 * MIB) + b"1]}", 413, "body_too_large"),
    "many keys": (b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}", 422, "invalid"),
    "deep lists": (b'{"array": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "bad_json"),
    "lists of 500 levels": (b'{"array": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "invalid"),
    "a lone surrogate": (rb'{"array": ["\ud800"]}', 422, "invalid"),
    "a lone surrogate as image": (rb'{"image": "\ud800"}', 422, "invalid"),
    "a lone surrogate as field": (rb'{"\ud800": 1}', 422, "invalid"),
    "a huge integer": (b'{"array": [1' + b"0" * 5000 + b"]}", 400, "bad_json"),
    "NaN": (b'{"array": [NaN]}', 400, "bad_json"),
    "an empty image": (b'{"image": ""}', 422, "bad_image"),
    "nothing": (b"", 400, "bad_json"),
    "a list": (b"[1]", 422, "invalid"),
    "900,000 numbers": (b'{"array": [' + b"1.5," * 900_000 + b"1]}", 503, "inference_unavailable"),
    "an image of 8 MiB": (b'{"image": "' + b"A" * (10 * MIB) + b'"}', 503, "inference_unavailable"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_bounded_before_it_is_parsed(api: httpx2.Client, predict: str, name: str) -> None:
    body, status, code = BODIES[name]
    answer = api.post(predict, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text[:500]


@pytest.mark.parametrize(
    ("options", "status"),
    [(b"{}", 503), (b'{"value_range": "0..1"}', 503), (b'{"no": 1}', 422), (b"{", 400), (b" " * 2000, 413)],
)
def test_options_in_a_form_are_bounded(api: httpx2.Client, predict: str, options: bytes, status: int) -> None:
    answer = api.post(predict, files={"image": b"\x89PNG", "options": options})
    assert answer.status_code == status, answer.text


def test_a_compressed_image_is_decoded_up_to_the_limit(api: httpx2.Client, predict: str) -> None:
    for body, status in ((gzip.compress(b"\x89PNG"), 503), (gzip.compress(bytes(100 * MIB)), 413)):
        headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
        assert api.post(predict, content=body, headers=headers).status_code == status


def test_bodies_in_memory_are_bounded_together(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, max_buffered_bytes=4 * MIB)
    with running(settings) as site, site.client() as api:
        model = api.post("/v1/models", files={"weights": model_file(MANIFEST)}).json()["id"]
        body: dict[str, Any] = {"image": "A" * (3 * MIB)}
        answer = api.post(
            f"/v1/models/{model}/predict", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (429, "client_limit")
        assert "ADDER_MAX_BUFFERED_BYTES" in answer.json()["detail"]
        small = api.post(f"/v1/models/{model}/predict", json={"image": PNG})
        assert (small.status_code, small.json()["code"]) == (503, "inference_unavailable")
