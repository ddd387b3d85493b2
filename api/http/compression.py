"""Answers compressed with gzip (RFC 9110, 8.4.1.3) for clients that take it."""

from __future__ import annotations

import gzip

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST = 1024
"""Bytes; shorter answers gain nothing."""
INLINE = 32 * 1024
"""Bytes that are compressed on the event loop, in about a millisecond; more of them in a thread."""
LEVEL = 5
TYPES = ("application/json", "application/problem+json", "image/svg+xml", "text/")


class CompressionMiddleware:
    """Compresses answers that are complete when they are sent.

    Streams stay as they are, as their lines must not wait. So do files: their ETag and ranges are of the stored bytes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = takes_gzip(Headers(scope=scope).get("accept-encoding", ""))
        held: list[Message] = []

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start" and _suits(message):
                MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
                if taken:
                    held.append(message)
                    return
            if held:
                start = held.pop()
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    message = await _compressed(start, message)
                await send(start)
            await send(message)

        await self.app(scope, receive, pass_on)


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110, 12.5.3) takes gzip."""
    weights: dict[str, bool] = {}
    for part in accepted[:1000].split(","):
        name, _, parameter = part.partition(";")
        weight = parameter.partition("=")[2].strip()
        weights[name.strip().lower()] = weight.strip("0.") != "" or weight == ""
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


def _suits(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    kind, length = headers.get("content-type", ""), headers.get("content-length", "")
    if start["status"] == 206 or "etag" in headers or "content-encoding" in headers:
        return False
    return kind.startswith(TYPES) and length.isdecimal() and int(length) >= LEAST


async def _compressed(start: Message, message: Message) -> Message:
    body = message.get("body", b"")
    short = await run_sync(_gzip, body) if len(body) > INLINE else _gzip(body)
    headers = MutableHeaders(scope=start)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(short))
    return {**message, "body": short}


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)
