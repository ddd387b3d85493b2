"""The inference process decodes inside its bounds, keeps models by their bytes, and answers numbers or says why not."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx2
import pytest
from fastapi import HTTPException

from jobs.settings import Settings
from jobs.store import ArtifactStore
from jobs.store.folder import FolderStore
from tests.api.attempt import model_file
from tests.support.servers import wait_until
from worker import inference
from worker.inference import Predictor

IMAGE: list[Any] = [[0] * 32] * 32
SIZE = 2 * len(model_file())
"""What a float model counts: its plan has the filters once more."""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return FolderStore(tmp_path, 300)


def put(store: ArtifactStore, fill: bytes) -> str:
    return store.put_stream([model_file(fill=fill)]).sha256


def ask(predictor: Predictor, sha256: str, image: list[Any] = IMAGE) -> dict[str, Any]:
    return predictor.predict(json.dumps({"sha256": sha256, "array": image}).encode())


def test_models_are_kept_by_their_bytes_and_the_last_one_whatever_its_size(store: ArtifactStore) -> None:
    models = [put(store, bytes([fill])) for fill in (0, 1, 2)]
    predictor = Predictor(store, most_bytes=2 * SIZE)
    for sha256 in models:
        ask(predictor, sha256)
    kept = predictor._models
    assert kept.bytes == 2 * SIZE
    assert [kept.get(sha256) is not None for sha256 in models] == [False, True, True]
    small = Predictor(store, most_bytes=10)
    for sha256 in models:
        ask(small, sha256)
    assert small._models.bytes == SIZE


def test_weights_that_are_no_numbers_are_named(store: ArtifactStore) -> None:
    with pytest.raises(HTTPException) as refused:
        ask(Predictor(store, 10 * SIZE), put(store, b"\xff"))
    assert refused.value.status_code == 422
    assert "NaN" in str(refused.value.detail)
    assert ".weight" in str(refused.value.detail)


def test_answers_that_are_no_numbers_are_refused(store: ArtifactStore) -> None:
    with pytest.raises(HTTPException) as refused:
        ask(Predictor(store, 10 * SIZE), put(store, b"\x7e"))  # weights of 8e37: their sums are infinite
    assert refused.value.status_code == 422


def test_a_prediction_without_memory_leaves_the_process_alive(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, sha256 = Predictor(store, 10 * SIZE), put(store, b"\x00")
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(inference.addercore, "load", Mock(side_effect=error))
            with pytest.raises(HTTPException) as refused:
                ask(predictor, sha256)
            assert refused.value.status_code == 503
            assert "ADDER_INFERENCE_MEMORY_GB" in str(refused.value.detail)
    assert ask(predictor, sha256)["label"]


@pytest.mark.long("a program that imports torch starts, twice")
def test_the_process_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """Also the one that `adder up` starts: it is the same program."""
    server = tmp_path / "i.sock"
    environment = {**os.environ, "ADDER_INFERENCE_URL": f"unix:{server}", "ADDER_DATA_DIR": str(tmp_path)}
    for setting, limit in (({}, 4 << 30), ({"ADDER_INFERENCE_MEMORY_GB": "1.5"}, 3 << 29)):
        process = subprocess.Popen([sys.executable, "-m", "worker.inference"], env=environment | setting)
        try:
            wait_until(server.exists, "the process to listen")
            found = resource.prlimit(process.pid, resource.RLIMIT_DATA)
        finally:
            process.terminate()
            process.wait(60)
            server.unlink(missing_ok=True)
        assert found == (limit, limit)


def test_one_image_is_decoded_at_a_time_and_none_without_a_place(
    tmp_path: Path, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, decoding, most, decoded, go = put(store, b"\x00"), 0, 0, 0, threading.Event()

    def counted(_text: str) -> Any:
        nonlocal decoding, most, decoded
        decoding += 1
        most, decoded = max(most, decoding), decoded + 1
        go.wait(60)
        decoding -= 1
        return IMAGE

    monkeypatch.setattr(inference, "image_bytes", counted)
    monkeypatch.setattr(inference, "store_of", lambda _settings: store)
    app = inference.create_app(Settings(data_dir=tmp_path))
    statuses: list[int] = []

    async def one(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/predict", json={"sha256": sha256, "image_b64": "AA=="})
        statuses.append(answer.status_code)
        if statuses.count(503) == 24 - inference.WAITING - 1:
            go.set()

    async def all_at_once() -> None:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://inference", timeout=120) as client:
            await asyncio.gather(*(one(client) for _ in range(24)))

    asyncio.run(all_at_once())
    assert statuses.count(503) == 24 - inference.WAITING - 1
    assert statuses.count(200) == decoded == inference.WAITING + 1
    assert most == 1
