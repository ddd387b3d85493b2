"""uvicorn's HTTP protocol, which answers malformed HTTP with problem details, as the API does for every error."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.problems import MEDIA_TYPE, Problem


class ProblemDetailsProtocol(HttpToolsProtocol):
    """Answers 400 as problem details (RFC 9457)."""

    def send_400_response(self, msg: str) -> None:
        """Answers malformed HTTP. `msg` is one of uvicorn's constants."""
        body = json.dumps(Problem("bad_request", msg).body()).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
