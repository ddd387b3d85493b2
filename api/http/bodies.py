"""Request and answer bodies.

A request body is bounded while it arrives, whatever its Content-Length says. A JSON answer is encoded in the thread of
the call.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from anyio.to_thread import run_sync
from fastapi import Depends, Request, Response
from pydantic import BaseModel

from addercore.config.duplicates import NameTwice, once
from api.http.problems import Problem, invalid
from api.http.shares import Exhausted, client_of
from jobs import documents


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece. Raises Problem (413) as soon as it is known to be longer than `limit` bytes."""
    too_large = Problem("body_too_large", f"The body is longer than {limit} bytes.")
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
    """The whole body, decoded where its Content-Encoding is gzip.

    Raises:
        Problem: 413 when it is longer than `limit` bytes, also once it is decoded; 415 for another encoding; 400 for
            damaged gzip; 429 and 503 where the bodies that arrive take too much memory together.
    """
    encoding = content_encoding(request)
    if encoding not in ("", "gzip"):
        raise Problem(
            "unsupported_media_type", f"Content-Encoding {encoding[:40]!r} is not taken. Send gzip, or leave it out."
        )
    pieces: list[bytes] = []
    held, client, bodies = 0, client_of(request), request.app.state.service.bodies
    try:
        async for chunk in chunks(request, limit):
            bodies.take(client, len(chunk))
            held += len(chunk)
            pieces.append(chunk)
    except Exhausted as full:
        of = "of this address " if full.of_client else ""
        detail = f"The bodies {of}that are arriving take {full.most} bytes, the most that may be."
        raise Problem("client_limit" if full.of_client else "busy", f"{detail} (ADDER_MAX_BUFFERED_BYTES)") from None
    finally:
        bodies.give_back(client, held)
    body = b"".join(pieces)
    return await run_sync(_gunzip, body, limit) if encoding else body


def content_encoding(request: Request) -> str:
    """The Content-Encoding of the body (RFC 9110, 8.4), empty where there is none."""
    name = request.headers.get("content-encoding", "").strip().lower()
    return {"identity": "", "x-gzip": "gzip"}.get(name, name)


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decodes gzip, and never more than `limit` bytes of it."""
    found = bytearray()
    while body:
        decoder = zlib.decompressobj(wbits=31)
        try:
            found += decoder.decompress(body, limit + 1 - len(found))
        except zlib.error:
            raise Problem("bad_request", "The body is not gzip, although its Content-Encoding says so.") from None
        if len(found) > limit:
            raise Problem("body_too_large", f"The body is longer than {limit} bytes once it is decoded.")
        if not decoder.eof:
            raise Problem("bad_request", "The gzip of the body is cut off.")
        body = decoder.unused_data  # several members may follow each other (RFC 1952, 2.2)
    return bytes(found)


def media_type(request: Request) -> str:
    """The media type of the body without its parameters: `application/json` for `application/json; charset=utf-8`."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON, such as `application/json` or `application/geo+json` (RFC 6839)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def read_json(request: Request, limit: int) -> Any:
    """The parsed JSON body, which may be stored (`jobs/documents.py`).

    Raises:
        Problem: as `read` and `parse_json`; 415 for another media type; 422 for what may not be stored.
    """
    kind = media_type(request)
    if not is_json(kind):
        raise Problem("unsupported_media_type", "This call takes a JSON body with Content-Type: application/json.")
    # Not on the event loop: some bodies take much longer to parse than their size tells.
    return await run_sync(_storable, await read(request, limit))


def _storable(body: bytes) -> Any:
    document = parse_json(body)
    found = documents.fault(document)
    if found is not None:
        raise invalid([(found.pointer, found.reason)])
    return document


async def takes_no_body(request: Request) -> None:
    """For calls that take none: a body that is ignored would promise something. Raises Problem (422)."""
    async for chunk in request.stream():
        if chunk:
            reason = "must be empty: this call takes no body; what it can be told stands in its URL"
            raise invalid([("", reason)])


NO_BODY = [Depends(takes_no_body)]


def parse_json(body: bytes) -> Any:
    """Parses UTF-8 JSON as RFC 8259 defines it: NaN and Infinity are refused, a byte order mark is passed over.

    An object that has a name twice is refused (RFC 8259, section 4, leaves its meaning open). Raises Problem (400).
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=once)
    except UnicodeDecodeError:
        raise Problem("bad_json", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("bad_json", f"The body is not JSON: {error.msg} at {where}.") from None
    except NameTwice as error:
        raise Problem("bad_json", f"The body is ambiguous: {error}.") from None
    except RecursionError:
        raise Problem("bad_json", "The body is nested too deeply; at most 32 levels may be stored.") from None
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
