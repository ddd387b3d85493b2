"""Bytes: artifacts with ranges and ETags, models imported, downloaded and asked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from jobs.store.folder import FolderStore
from tests.api.attempt import MANIFEST, Worker, model_file
from tests.api.conftest import Running, running, threaded
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_body

CONTENT = bytes(range(256)) * 4096  # 1 MiB, so that it is sent in several pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{SHA256}"'


@pytest.fixture
def file_path(lite_api: httpx2.Client, lite_worker: Worker) -> str:
    job = lite_api.post("/v1/jobs", json=train_body()).json()["id"]
    lite_worker.artifact(lite_worker.claim(), 'né "w";\r\n.bin', CONTENT, "application/x-test")
    return f"/v1/jobs/{job}/artifacts/n%C3%A9%20%22w%22;%0D%0A.bin"


def test_an_artifact_is_listed_and_downloaded(lite_api: httpx2.Client, file_path: str) -> None:
    (row,) = lite_api.get(file_path.rpartition("/")[0]).json()["data"]
    assert (row["bytes"], row["sha256"], row["media_type"]) == (len(CONTENT), SHA256, "application/x-test")
    answer = lite_api.get(file_path)
    assert answer.content == CONTENT
    assert answer.headers["etag"] == ETAG
    assert answer.headers["content-type"] == "application/x-test"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"n_ _w____.bin\"; filename*=UTF-8''n%C3%A9%20%22w%22%3B%0D%0A.bin"
    )
    head = lite_api.head(file_path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(CONTENT)))


@pytest.mark.parametrize(
    ("header", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=10-99999999", 10, None),
     ("bytes=300000-900000", 300_000, 900_001), ("bytes=-99999999", 0, None)],
)  # fmt: skip
def test_one_range(lite_api: httpx2.Client, file_path: str, header: str, begin: int, end: int | None) -> None:
    answer = lite_api.get(file_path, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == CONTENT[begin:end]
    first = len(CONTENT) + begin if begin < 0 else begin
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=5-4", "bytes=x-", "lines=1-2", "bytes=", "bytes=-"])
def test_other_ranges_give_the_whole_file(lite_api: httpx2.Client, file_path: str, header: str) -> None:
    answer = lite_api.get(file_path, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_ranges_behind_the_end_and_conditions(lite_api: httpx2.Client, file_path: str) -> None:
    for header in (f"bytes={len(CONTENT)}-", "bytes=-0", f"bytes={10**18}-"):
        behind = lite_api.get(file_path, headers={"Range": header})
        assert (behind.status_code, behind.json()["code"]) == (416, "range_not_satisfiable")
        assert behind.headers["content-range"] == f"bytes */{len(CONTENT)}"
    for validator, status in (
        (ETAG, 206),
        ('"other"', 200),
        (f"W/{ETAG}", 200),
        ("Fri, 21 Nov 2025 03:00:00 GMT", 200),
    ):
        answer = lite_api.get(file_path, headers={"Range": "bytes=1-2", "If-Range": validator})
        assert answer.status_code == status, validator
    for validator, status in ((ETAG, 304), (f'"x", W/{ETAG}', 304), ("*", 304), ('"other"', 200)):
        answer = lite_api.get(file_path, headers={"If-None-Match": validator})
        assert answer.status_code == status, validator
        assert answer.headers["etag"] == ETAG


def test_a_missing_blob_is_said_and_not_half_sent(lite: Running, lite_api: httpx2.Client, file_path: str) -> None:
    FolderStore(lite.settings.artifacts_dir, 300).path(SHA256).unlink()
    answer = lite_api.get(file_path)
    assert (answer.status_code, answer.json()["code"]) == (500, "stored_file_missing")


def left_over(site: Running) -> list[Path]:
    return [path for path in site.settings.artifacts_dir.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_model_is_imported_once_and_comes_back(api: httpx2.Client, site: Running) -> None:
    content = model_file()
    files = {"weights": ("model.safetensors", content), "manifest": ("model.json", json.dumps(MANIFEST))}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.post("/v1/models", files=files), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    model = answers[0].json()
    assert {answer.json()["id"] for answer in answers} == {model["id"]}
    assert (model["source"], model["arch"], model["manifest"]) == ("imported", "lenet5_bn", MANIFEST)
    assert (model["sha256"], model["job_id"]) == (hashlib.sha256(content).hexdigest(), None)
    assert api.get(f"/v1/models/{model['id']}").json() == model
    row = {name: value for name, value in model.items() if name not in ("manifest", "costs", "twin_costs", "latency")}
    assert api.get("/v1/models").json() == {"data": [row], "has_more": False, "next": None}
    download = api.get(f"/v1/models/{model['id']}/download")
    assert download.content == content
    assert download.headers["content-disposition"] == f'attachment; filename="{model["id"]}.safetensors"'
    manifest = api.get(f"/v1/models/{model['id']}/download", params={"format": "manifest"})
    assert manifest.json() == MANIFEST
    (blob,) = left_over(site)
    os.utime(blob, (0, 0))  # a young one stays for a while, lest an import of the same bytes lose it
    assert api.delete(f"/v1/models/{model['id']}").status_code == 204
    assert api.get(f"/v1/models/{model['id']}").status_code == 404
    assert left_over(site) == []


def broken_models() -> Iterator[tuple[str, bytes]]:
    good = model_file()
    yield "empty", b""
    yield "cut off", good[:-1]
    yield "longer", good + b"\x00"
    yield "no safetensors", b"\x00" * 1000
    yield "a pickle", b"\x80\x02}q\x00."
    yield "pickle", b"\x80\x04\x95" + b"x" * 100
    yield "wrong network", model_file(MANIFEST | {"network": MANIFEST["network"] | {"arch": "vgg_tiny"}})
    yield "NaN", model_file(MANIFEST | {"metrics": {"val/loss": float("nan")}})
    yield "surrogate", model_file(MANIFEST | {"config": {"a": "\ud800"}})
    yield "NUL", model_file(MANIFEST | {"dataset": "a\x00"})
    yield "long name", model_file(MANIFEST | {"dataset": "a" * 101})
    yield "big", model_file(MANIFEST | {"config": {"a": "x" * 2**21}})


def test_what_is_no_model_is_refused_and_leaves_nothing(api: httpx2.Client, site: Running) -> None:
    for name, content in broken_models():
        answer = api.post("/v1/models", files={"weights": content})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_model"), name
        assert str(site.settings.data_dir) not in answer.text
    other = {"weights": model_file(), "manifest": json.dumps(MANIFEST | {"dataset": "mnist"})}
    assert api.post("/v1/models", files=other).json()["code"] == "bad_model"
    assert api.get("/v1/models").json()["data"] == []
    assert left_over(site) == []


def form(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    return b"".join(
        f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts
    ) + end  # fmt: skip


def test_malformed_forms(lite: Running, lite_api: httpx2.Client) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    cases = [
        (b"", "bad_request"),
        (b"nonsense", "bad_request"),
        (form(("weights", model_file()), end=b""), "bad_request"),
        (form(("manifest", b"{}")), "invalid"),
        (form(("weights", b"a"), ("weights", b"b")), "invalid"),
        (form(("weights", b"a"), ("extra", b"b")), "invalid"),
        (form(("weights", model_file()), ("manifest", b"{")), "bad_json"),
        (b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--\r\n", "invalid"),
        (b"--B\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--B--\r\n", "bad_request"),
    ]
    for body, code in cases:
        answer = lite_api.post("/v1/models", content=body, headers=kind)
        assert answer.json()["code"] == code, body[:60]
    for wrong in ("multipart/form-data", "multipart/form-data; boundary=" + "B" * 500, "multipart/mixed; boundary=B"):
        answer = lite_api.post("/v1/models", content=form(("weights", b"")), headers={"Content-Type": wrong})
        assert answer.status_code == 415
    assert left_over(lite) == []


def test_an_upload_is_bounded_while_it_arrives(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, max_upload_bytes=10_000)
    with running(settings) as site, site.client() as api:
        assert api.post("/v1/models", files={"weights": b"x" * 10_001}).status_code == 413
        assert api.post("/v1/models", files={"weights": b"x", "manifest": b"x" * 2_000_000}).status_code == 413
        kind = {"Content-Type": "multipart/form-data; boundary=B"}

        def endless() -> Iterator[bytes]:
            yield form(("weights", b"x" * 100), end=b"")[:-2]
            for _ in range(40):
                yield b"x" * 65536

        answer = api.post("/v1/models", content=endless(), headers=kind)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert left_over(site) == []


@pytest.fixture
def inference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Any]]]:
    """A stand-in for the inference process on a unix socket; it answers what the image says."""
    asked: list[Any] = []
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        question = await request.json()
        asked.append(question)
        image = base64.b64decode(question.get("image_b64", ""))
        if image == b"bad":
            return JSONResponse({"detail": "The image cannot be read: bad."}, 422)
        if image == b"busy":
            return JSONResponse({"detail": "busy"}, 503)
        return JSONResponse({"label": "7", "probabilities": {"7": 0.75, "1": 0.25}})

    path = tmp_path_factory.mktemp("i") / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        with threaded(server, listener):
            yield f"unix:{path}", asked


def test_predictions_are_forwarded(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, inference: tuple[str, list[Any]]
) -> None:
    url, asked = inference
    png = {"Content-Type": "image/png"}
    with running(quick_settings(tmp_path, sqlite_url, valkey.url, inference_url=url)) as site, site.client() as api:
        model = api.post("/v1/models", files={"weights": model_file()}).json()
        path = f"/v1/models/{model['id']}/predict"
        b64 = base64.b64encode(b"png").decode()
        for answer in (
            api.post(path, content=b"png", headers=png),
            api.post(path, content=b"png", headers={"Content-Type": "application/octet-stream"}),
            api.post(path, content=b"png"),
            api.post(path, files={"image": ("a.png", b"png", "image/png")}),
            api.post(path, json={"image": b64}),
        ):
            assert answer.json() == {"label": "7", "probabilities": {"7": 0.75, "1": 0.25}, "notes": []}
            assert asked[-1] == {"sha256": model["sha256"], "image_b64": b64}
        chosen = {"value_range": "0..1", "transparent_on": "black"}
        for answer in (
            api.post(path, files={"image": ("a.png", b"png", "image/png"), "options": ("o", json.dumps(chosen))}),
            api.post(path, json={"image": f"data:image/png;base64,{b64}", **chosen}),
        ):
            assert answer.status_code == 200
            assert asked[-1] == {"sha256": model["sha256"], "image_b64": b64, **chosen}
        for document, pointer, detail in (
            ({"image": b64, "range": "0..1"}, "/range", "did you mean value_range?"),
            ({"image": b64, "value_range": "0-1"}, "/value_range", "must be one of auto, 0..1, 0..255, -1..1, bits"),
            ({"image": "data:text/html,x"}, "/image", "got one of text/html"),
        ):
            (error,) = api.post(path, json=document).json()["errors"]
            assert error["pointer"] == pointer
            assert detail in error["detail"]
        for document in ({"array": [[0.5]]}, {"image": [[0.5]]}):
            assert api.post(path, json=document).status_code == 200
            assert asked[-1] == {"sha256": model["sha256"], "array": [[0.5]]}
        for body, code in ((b"bad", "bad_image"), (b"busy", "inference_unavailable"), (b"", "bad_image")):
            assert api.post(path, content=body, headers=png).json()["code"] == code
        for document in ({}, {"image": 1}, {"image": "€"}, {"array": [], "image": ""}, {"x": 1}, [1], {"array": "a"}):
            assert api.post(path, json=document).json()["code"] == "invalid", document
        assert api.post(path, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
        curl = api.post(path, content=b"png", headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert curl.status_code == 415
        assert "-H 'Content-Type: image/png'" in curl.json()["detail"]
        (error,) = api.post(path, files={"file": ("a.png", b"png")}).json()["errors"]
        assert "did you mean image?" in error["detail"]
        assert api.post(path, content=b"x" * (8 * 2**20 + 1), headers=png).status_code == 413
        assert api.post("/v1/models/model_none/predict", content=b"x", headers=png).status_code == 404


def test_without_an_inference_process_predictions_are_503(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    for number, url in enumerate(("", f"unix:{tmp_path}/none", "http://127.0.0.1:1")):
        settings = quick_settings(tmp_path / str(number), sqlite_url, valkey.url, inference_url=url)
        with running(settings) as site, site.client() as api:
            model = api.post("/v1/models", files={"weights": model_file()}).json()
            answer = api.post(f"/v1/models/{model['id']}/predict", json={"array": [[1]]})
            assert (answer.status_code, answer.json()["code"]) == (503, "inference_unavailable")
            assert int(answer.headers["retry-after"]) > 0
