"""What pages of other origins may send and read: CORS by Starlette, whose refusals are problem details here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from api.http.problems import Problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SENT = (
    "Authorization",
    "Content-Encoding",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
)
READ = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "X-Request-ID",
)


class Cors(CORSMiddleware):
    """Answers for the origins in ADDER_CORS_ORIGINS. No cookies: a key is a header."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], prefix: str) -> None:
        super().__init__(app, allow_origins=origins, allow_methods=METHODS, allow_headers=SENT, expose_headers=READ)
        self._prefix = prefix

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's answer, with its refusal in a problem's words."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refused = Problem("foreign_origin", self._why(request_headers)).response(self._prefix)
        for name in ("vary", "access-control-allow-origin"):
            if name in answer.headers:
                refused.headers[name] = answer.headers[name]
        return refused

    def _why(self, headers: Headers) -> str:
        origin, method = headers["origin"], headers["access-control-request-method"]
        if not self.is_allowed_origin(origin):
            return (
                f"Pages of {origin[:200]!r} may not call this server; its operator can name them in ADDER_CORS_ORIGINS."
            )
        if method not in self.allow_methods:
            return f"Pages of other origins may not send {method[:50]!r}, only {', '.join(METHODS)}."
        asked = headers.get("access-control-request-headers")
        if asked is not None and any(name.strip().lower() not in self.allow_headers for name in asked.split(",")):
            return f"Of the header fields, pages of other origins may send {', '.join(SENT)}, Accept and Content-Type."
        return "Pages of public addresses may not call a server in a private network."
