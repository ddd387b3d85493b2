"""`python -m worker.inference`: the process that computes predictions, so that the API loads no torch.

It listens at `ADDER_INFERENCE_URL`, keeps the models that were used last up to a number of bytes, and answers 503
rather than let requests queue without a bound. It is an internal service: the API validates what reaches it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import uvicorn
from anyio.to_thread import run_sync
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import Field, ValidationError

import addercore
from addercore.arch import is_integer
from addercore.config import ImageOptions, explain, image_bytes
from addercore.config.fields import Section
from addercore.errors import BadData, BadModel
from addercore.quant.running import RunningModel
from jobs.errors import StoreError, StoreUnavailable
from jobs.logs import configure_logging
from jobs.settings import Settings
from jobs.store import ArtifactStore, store_of
from worker.export import MEDIA_TYPES, Format, exported
from worker.memory import limit_memory

AnyModel = addercore.Model | RunningModel
Answer = TypeVar("Answer")
WAITING = 8
"""Requests that may wait while one is computed; further ones are answered 503."""
NO_MEMORY = "This needs more memory than there is (ADDER_INFERENCE_MEMORY_GB)."
NOT_FINITE = (
    "The model's answer for this image is not a number: its weights or the image's values are too large for float32. "
    "Send values in the range that the model was trained on, or train it anew."
)


class PredictRequest(ImageOptions):
    """Exactly one of the two inputs, for the model stored under `sha256`."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    image_b64: str | None = None
    """An encoded image file (PNG, JPEG, …) in base64."""
    array: list[Any] | None = None
    """Numbers, (H, W), (C, H, W) or (H, W, C)."""


class InspectRequest(Section):
    """The integer model stored under `sha256`."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ExportRequest(InspectRequest):
    """The model stored under `sha256`, in another form."""

    format: Format


class Predictor:
    """Loads models by their checksum. It reads one request, decodes one image and computes one prediction at a time."""

    def __init__(self, store: ArtifactStore, most_bytes: int) -> None:
        self._store = store
        self._models = Kept(most_bytes)
        self._busy = threading.Lock()

    def predict(self, body: bytes) -> dict[str, Any]:
        """Answers a `PredictRequest` in JSON.

        Raises:
            HTTPException: 422 for what is no image or no number, 404 for a model whose file is gone, 503 while the
                store is away or memory is short.
        """
        with self._busy, _errors():
            try:
                request = PredictRequest.model_validate_json(body)
                return self._answer(request)
            except ValidationError as error:
                raise HTTPException(422, "; ".join(one.detail for one in explain(error, PredictRequest))) from None
            except (BadData, ValueError) as error:
                raise HTTPException(422, str(error)) from error
            except RuntimeError as error:
                if "memory" not in str(error):  # torch has no other word for it
                    raise
                raise HTTPException(503, NO_MEMORY) from error

    def _answer(self, request: PredictRequest) -> dict[str, Any]:
        if (request.image_b64 is None) == (request.array is None):
            raise HTTPException(422, "give either an image or an array")
        image: Any = request.array if request.image_b64 is None else image_bytes(request.image_b64)
        found = self._model(request.sha256).predict(image, request.value_range, request.transparent_on)
        if not all(map(math.isfinite, found.probabilities.values())):
            raise HTTPException(422, NOT_FINITE)
        return found.to_dict()

    def inspect(self, body: bytes) -> dict[str, Any]:
        """What an integer model's file holds, once all of it has been checked; answers an `InspectRequest`.

        Raises:
            HTTPException: 422 for a file that is none, 404 for one that is gone, 503 while the store is away.
        """
        request = InspectRequest.model_validate_json(body)
        with self._busy, _errors(), self._store.local(request.sha256) as path:
            try:
                model = RunningModel(path)
            except BadModel as error:
                raise HTTPException(422, _without(path, error)) from error
        return {"manifest": model.manifest, "input_shape": model.input_shape, "terms": model.terms}

    def export(self, body: bytes) -> Response:
        """Answers an `ExportRequest` with the file.

        Raises:
            HTTPException: 422 for a model that has no such form, 404 for one that is gone, 503 while the store is away,
                memory is short or onnx is not installed.
        """
        request = ExportRequest.model_validate_json(body)
        with self._busy, _errors(), self._store.local(request.sha256) as path:
            try:
                content = exported(path, request.format)
            except (BadModel, ValueError) as error:
                raise HTTPException(422, _without(path, error)) from error
            except ModuleNotFoundError as error:
                raise HTTPException(503, str(error)) from error
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        return Response(content, media_type=MEDIA_TYPES[request.format], headers=headers)

    def _model(self, sha256: str) -> AnyModel:
        kept = self._models.get(sha256)
        if kept is not None:
            return kept
        with self._store.local(sha256) as path:
            try:
                integer = is_integer(path)
                size = path.stat().st_size * (1 if integer else 2)  # a float model's plan has its filters once more
                self._models.make_room(size)
                model = RunningModel(path) if integer else addercore.load(path)
            except BadModel as error:
                raise HTTPException(422, f"The model cannot be used: {_without(path, error)}") from error
        self._models.put(sha256, model, size)
        return model


@contextmanager
def _errors() -> Iterator[None]:
    """What every call can fail for, as HTTP has it."""
    try:
        yield
    except StoreUnavailable as error:
        raise HTTPException(503, str(error)) from error
    except StoreError as error:
        raise HTTPException(404, str(error)) from error
    except MemoryError as error:
        raise HTTPException(503, NO_MEMORY) from error


def _without(path: Path, error: Exception) -> str:
    return str(error).replace(f"{path}: ", "")


class Kept:
    """Loaded models, the ones used last, of at most so many bytes together; the very last whatever its size."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._models: OrderedDict[str, tuple[AnyModel, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self._models.values())

    def get(self, sha256: str) -> AnyModel | None:
        if sha256 not in self._models:
            return None
        self._models.move_to_end(sha256)
        return self._models[sha256][0]

    def make_room(self, size: int) -> None:
        """Forgets the models that were not used for the longest time, until one of `size` bytes fits."""
        while self._models and self.bytes + size > self._most:
            self._models.popitem(last=False)

    def put(self, sha256: str, model: AnyModel, size: int) -> None:
        self.make_room(size)
        self._models[sha256] = (model, size)


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Adderworks inference (internal)", docs_url=None, redoc_url=None, openapi_url=None)
    predictor = Predictor(store_of(settings), settings.inference_models_bytes)
    places = threading.BoundedSemaphore(WAITING + 1)

    async def answered(call: Callable[[bytes], Answer], request: Request) -> Answer:
        # A place first: a request without one costs neither its body's memory nor a decoded image.
        if not places.acquire(blocking=False):
            raise HTTPException(503, "All places are taken. Try again in a second.")
        try:
            return await run_sync(call, await request.body())
        finally:
            places.release()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await answered(predictor.predict, request)

    @app.post("/inspect")
    async def inspect(request: Request) -> dict[str, Any]:
        return await answered(predictor.inspect, request)

    @app.post("/export")
    async def export(request: Request) -> Response:
        return await answered(predictor.export, request)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> int:
    argparse.ArgumentParser(prog="python -m worker.inference", description=__doc__).parse_args()
    settings = Settings()
    where = settings.inference_url
    options: dict[str, Any] = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": 5}
    if where.startswith("unix:"):
        options["uds"] = where.removeprefix("unix:")
    elif where.startswith("http://"):
        host, _, port = where.removeprefix("http://").rstrip("/").rpartition(":")
        # In a container the name in the URL is that of the service; every interface of the container answers for it.
        options |= {"host": host if host in ("127.0.0.1", "localhost") else "0.0.0.0", "port": int(port)}
    else:
        print("adder inference: set ADDER_INFERENCE_URL to unix:/path.sock or http://host:port", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    limit_memory(settings.inference_memory_gb)
    configure_logging(settings.log_level, process="inference")
    uvicorn.run(create_app(settings), **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
