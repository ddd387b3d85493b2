"""uvicorn's HTTP protocol with its own 400 as problem details, as every other error of the API."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.problems import MEDIA_TYPE, Problem


class Protocol(HttpToolsProtocol):
    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP; `msg` is uvicorn's own and constant."""
        body = json.dumps(Problem("bad_request", msg).body()).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
