"""Multipart forms (RFC 7578), parsed while they arrive: each part goes straight into its sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio.to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from addercore.config.schema import nearest
from api.http.bodies import chunks, content_encoding, media_type
from api.http.problems import Problem, invalid

MAX_STATED = 1000
"""Characters of a Content-Type that is read."""
Sink = Callable[[bytes], object]


@dataclass
class _Parts:
    """Callbacks of the parser. A part without a sink is an error, and so are two parts of one name."""

    sinks: Mapping[str, Sink]
    seen: list[str] = field(default_factory=list)
    ended: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _name: str = ""

    def on_part_begin(self) -> None:
        self._name = ""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        if self._name not in self.sinks:
            raise invalid([(f"/{self._name}", self._unknown())])
        if self._name in self.seen:
            raise invalid([(f"/{self._name}", "was sent twice")])
        self.seen.append(self._name)

    def _unknown(self) -> str:
        meant = nearest(self._name, list(self.sinks))
        asked = "" if meant is None else f" (did you mean {meant}?)"
        return f"is not a part of this form{asked}; known: {', '.join(self.sinks)}"

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.sinks[self._name](data[start:end])

    def on_end(self) -> None:
        self.ended = True


async def read_form(request: Request, sinks: Mapping[str, Sink], *, required: str, limit: int) -> list[str]:
    """Reads a multipart form and feeds each part into its sink.

    Args:
        request: the request.
        sinks: a function for each part that the form may have, by its name; it takes the part's bytes in pieces.
        required: name of the part that must be there.
        limit: bytes that the whole body may have.

    Returns:
        The names of the parts, in their order.

    Raises:
        Problem: 413 over `limit` bytes, 415 for another media type, 400 or 422 for a malformed form.
    """
    if encoding := content_encoding(request):
        raise Problem(
            "unsupported_media_type", f"Content-Encoding {encoding[:40]!r} is not taken in forms. Send it as it is."
        )
    stated = request.headers.get("content-type", "")
    _, options = parse_options_header(stated if len(stated) <= MAX_STATED else "")
    boundary = options.get(b"boundary")
    if media_type(request) != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise Problem("unsupported_media_type", "This call takes multipart/form-data with a boundary.")
    parts = _Parts(sinks)
    names = [name for name in dir(parts) if name.startswith("on_")]
    parser = MultipartParser(boundary, {name: getattr(parts, name) for name in names})  # type: ignore[arg-type]
    try:
        async for chunk in chunks(request, limit):
            await anyio.to_thread.run_sync(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem("bad_request", f"The multipart body is malformed: {error}.") from None
    if not parts.ended:
        raise Problem("bad_request", "The multipart body ends before its closing boundary.")
    if required not in parts.seen:
        raise invalid([(f"/{required}", "this part is required")])
    return parts.seen
