"""Request and answer bodies.

A request body is bounded while it arrives, whatever its Content-Length says. A JSON answer is encoded in the thread of
the call.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from api.http.problems import Problem, invalid


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece. Raises Problem (413) as soon as it is known to be longer than `limit` bytes."""
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
    """The whole body. Raises Problem (413) when it is longer than `limit` bytes."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


def media_type(request: Request) -> str:
    """The media type of the body without its parameters: `application/json` for `application/json; charset=utf-8`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON, such as `application/json` or `application/geo+json` (RFC 6839)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def read_json(request: Request, limit: int) -> Any:
    """The parsed JSON body.

    Raises:
        Problem: 413 when it is longer than `limit` bytes, 415 for another media type, 400 when it is not JSON.
    """
    kind = media_type(request)
    if not is_json(kind):
        raise Problem("unsupported_media_type", "This call takes a JSON body with Content-Type: application/json.")
    return parse_json(await read(request, limit))


async def takes_no_body(request: Request) -> None:
    """For calls that take none: a body that is ignored would promise something. Raises Problem (422)."""
    async for chunk in request.stream():
        if chunk:
            reason = "must be empty: this call takes no body; what it can be told stands in its URL"
            raise invalid([("", reason)])


NO_BODY = [Depends(takes_no_body)]


def parse_json(body: bytes) -> Any:
    """Parses UTF-8 JSON as RFC 8259 defines it: NaN and Infinity are refused, a byte order mark is passed over.

    Raises Problem (400).
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
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


def json_response(answer: BaseModel) -> Response:
    """The answer as JSON, encoded in the thread of the call.

    FastAPI would validate the model a second time and encode it on the event loop. That is a fifth of the time of a
    small answer, and thousands of rows would block all other requests.
    """
    return Response(answer.model_dump_json(), media_type="application/json")
