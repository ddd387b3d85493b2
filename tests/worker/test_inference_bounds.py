"""The inference process decodes inside its bounds, keeps models by their bytes, and answers numbers or says why not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from jobs.store import ArtifactStore
from jobs.store.folder import FolderStore
from tests.api.attempt import model_file
from worker import inference
from worker.inference import Predictor, PredictRequest

IMAGE: list[Any] = [[0] * 32] * 32
SIZE = len(model_file())


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return FolderStore(tmp_path, 300)


def put(store: ArtifactStore, fill: bytes) -> str:
    return store.put_stream([model_file(fill=fill)]).sha256


def ask(predictor: Predictor, sha256: str, image: list[Any] = IMAGE) -> dict[str, Any]:
    return predictor.predict(PredictRequest(sha256=sha256, array=image))


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


def test_one_image_is_decoded_at_a_time_and_none_without_a_place(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, decoding, most, decoded, go = put(store, b"\x00"), 0, 0, 0, threading.Event()

    def counted(request: PredictRequest) -> Any:
        nonlocal decoding, most, decoded
        decoding += 1
        most, decoded = max(most, decoding), decoded + 1
        go.wait(60)
        decoding -= 1
        return IMAGE

    monkeypatch.setattr(inference, "decode", counted)
    predictor = Predictor(store, 10 * SIZE)

    def status() -> int:
        try:
            ask(predictor, sha256)
        except HTTPException as error:
            if error.status_code == 503:
                refused.append(error)
                if len(refused) == 24 - inference.WAITING - 1:
                    go.set()
            return error.status_code
        return 200

    refused: list[HTTPException] = []
    with ThreadPoolExecutor(24) as pool:
        found = sorted(pool.map(lambda _: status(), range(24)))
    assert found.count(503) == 24 - inference.WAITING - 1
    assert decoded == inference.WAITING + 1
    assert most == 1
