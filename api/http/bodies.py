"""Request bodies, bounded while they arrive, whatever Content-Length says; and answers that are encoded at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from fastapi import Request, Response
from pydantic import BaseModel

from api.http.problems import Problem


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece; a 413 as soon as it is known to be longer than `limit` bytes."""
    # The rest of a body that is too long is not read: the connection cannot be used again.
    too_large = Problem("body_too_large", f"The body is longer than {limit} bytes.", headers={"Connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_large
        yield chunk


async def read(request: Request, limit: int) -> bytes:
    return b"".join([chunk async for chunk in chunks(request, limit)])


def media_type(request: Request) -> str:
    """`application/json` of `application/json; charset=utf-8`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def read_json(request: Request, limit: int) -> Any:
    """The parsed JSON body: strict JSON (no NaN, no Infinity) in UTF-8."""
    kind = media_type(request)
    if not is_json(kind):
        raise Problem("unsupported_media_type", "This call takes a JSON body with Content-Type: application/json.")
    return parse_json(await read(request, limit))


def parse_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Problem("bad_json", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("bad_json", f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise Problem("bad_json", "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem("bad_json", f"The body is not JSON: {error}.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def encoded(answer: BaseModel) -> Response:
    """The answer as JSON, made in the call's own thread.

    FastAPI would validate the model once more, in another thread, and encode it on the event loop: a fifth of the time
    of a small answer, and for thousands of rows a halt of everything else.
    """
    return Response(answer.model_dump_json(), media_type="application/json")
