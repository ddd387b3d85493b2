"""A model in another program's form: the inference process makes it, and it is passed on piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

import httpx2
from fastapi import Request
from fastapi.responses import StreamingResponse

from api.access.acting import Acting
from api.http.files import content_disposition
from api.http.problems import Problem
from api.models.inference import away, inference_of, take_place
from jobs.tables import Model

Format = Literal["onnx", "c"]
ENDINGS: Final[dict[str, str]] = {"onnx": "onnx", "c": "h"}


async def exported(request: Request, service: Acting, model: Model, format: Format) -> StreamingResponse:
    """The answer with a model as ONNX or as C source.

    Raises:
        Problem: 409 for a model that has no such form; 429 and 503 for too many conversions and predictions at once;
            503 without an inference process, or where it lacks memory or onnx.
    """
    if format == "c" and model.format != "adder":
        raise Problem("conflict", f"{model.id} is a float model. A job of kind quantize makes one that can become C.")
    inference = inference_of(service)
    client = take_place(service, request)
    passed_on = False
    try:
        question = {"sha256": model.sha256, "format": format}
        answer = await inference.send(inference.build_request("POST", "/export", json=question), stream=True)
        if answer.status_code != 200:
            raise await _problem(answer)
        passed_on = True
    except httpx2.TransportError:
        raise away() from None
    finally:
        if not passed_on:
            service.predictions.give_back(client)

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await answer.aclose()
            service.predictions.give_back(client)

    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Disposition": content_disposition(f"{model.id}.{ENDINGS[format]}"),
        "Content-Length": answer.headers["content-length"],
        "ETag": answer.headers["etag"],  # of the whole file: a client compares
    }
    return StreamingResponse(pieces(), headers=headers, media_type="application/octet-stream")


async def _problem(answer: httpx2.Response) -> Problem:
    """What the inference process answered in place of a file."""
    try:
        await answer.aread()
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = "The inference process failed; try again."
    finally:
        await answer.aclose()
    return Problem("conflict" if answer.status_code == 422 else "inference_unavailable", detail)
