"""Files over HTTP (RFC 9110): strong ETag, single ranges, If-Range, If-None-Match and a safe file name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, BinaryIO
from urllib.parse import quote

import anyio.to_thread
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.http.dependencies import is_head
from api.http.problems import Problem, documented

CHUNK = 256 * 1024
_RANGE = re.compile(r"^bytes=\s*(?:(\d{1,19})-(\d{1,19})?|-(\d{1,19}))\s*$")


def file_response(request: Request, file: BinaryIO, *, size: int, sha256: str, name: str, media_type: str) -> Response:
    """The answer with a file, or with the part that was asked for.

    Args:
        request: its Range, If-Range and If-None-Match headers count.
        file: the bytes; the response closes it.
        size: length in bytes.
        sha256: hash of the content, which becomes the ETag.
        name: file name for the client.
        media_type: of the content.

    Raises:
        Problem: 416 where the range begins behind the end.
    """
    try:
        etag = f'"{sha256}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": content_disposition(name),
        }
        if _matches(request.headers.get("if-none-match"), etag):
            file.close()
            return Response(status_code=304, headers=headers)
        part = None
        if request.headers.get("if-range", etag).strip() == etag:
            part = parse_range(request.headers.get("range"), size)
        begin, end = part or (0, size)
        headers["Content-Length"] = str(end - begin)
        if part is not None:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        status = 200 if part is None else 206
        if is_head(request):
            file.close()
            return Response(None, status, headers, media_type)
        return StreamingResponse(_read(file, begin, end), status, headers, media_type)
    except BaseException:
        file.close()
        raise


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Begin and end (exclusive) of a byte range. None, the whole file, for several ranges and malformed ones."""
    match = _RANGE.match(header) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        begin, end = max(0, size - int(suffix)), size
    else:
        begin, end = int(first), size if last is None else min(size, int(last) + 1)
        if last is not None and int(last) < begin:
            return None
    if begin >= end:
        raise Problem(
            "range_not_satisfiable", f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    return begin, end


def content_disposition(name: str) -> str:
    """A Content-Disposition (RFC 6266) with an ASCII name, and the exact name as `filename*` where they differ."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{exact}'


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    offered = {item.strip().removeprefix("W/") for item in header.split(",")}
    return "*" in offered or etag in offered


async def _read(file: BinaryIO, begin: int, end: int) -> AsyncIterator[bytes]:
    try:
        await anyio.to_thread.run_sync(file.seek, begin)
        left = end - begin
        while left > 0:
            chunk = await anyio.to_thread.run_sync(file.read, min(CHUNK, left))
            if not chunk:
                raise OSError(f"the stored file ends {left} bytes early")
            left -= len(chunk)
            yield chunk
    finally:
        file.close()


FILE_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "description": "The sha256 of the bytes in quotes, a strong validator."},
    "Accept-Ranges": {"schema": {"type": "string"}},
    "Content-Disposition": {"schema": {"type": "string"}},
}


BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes.", "headers": FILE_HEADERS, "content": BYTES},
    206: {"description": "The requested range.", "headers": FILE_HEADERS, "content": BYTES},
    304: {"description": "The file still has an ETag of If-None-Match."},
    **documented("not_found", "range_not_satisfiable", "stored_file_missing", "store_unavailable"),
}


FILE_PARAMETERS = {
    "parameters": [
        {
            "name": "Range",
            "in": "header",
            "schema": {"type": "string"},
            "description": "One byte range, such as `bytes=1000-`.",
        },
        {
            "name": "If-Range",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Send the range only if the file has this ETag, otherwise the whole file.",
        },
        {
            "name": "If-None-Match",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Answer 304 if the file has one of these ETags.",
        },
    ]
}
