"""The outermost middleware: Host and Origin checks, HEAD, common headers, logging, metrics, unexpected errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from api.access.admission import REQUEST_ID
from api.http.dependencies import HEAD
from api.http.prefix import without_prefix
from api.http.problems import Problem
from api.service import Service
from jobs.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
HTML_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DRAWING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Of an SVG that is opened by itself, which is a document like a page: nothing in it runs or loads anything."""

log = structlog.get_logger()


class RequestMiddleware:
    """Wraps every request. It is plain ASGI, because streams pass through it."""

    def __init__(self, app: ASGIApp, service: Service, respond: Callable[[Request, Problem], Response]) -> None:
        """`respond` makes the answer to a request that met a problem."""
        self.app = app
        self.service = service
        self._respond = respond
        self._hosts = allowed_hosts(service.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        # The routes see a copy of the scope. In the server's own, HEAD stays HEAD.
        scope = {**scope, "method": "GET", HEAD: True} if head else dict(scope)
        without_prefix(scope, self.service.settings.path_prefix)
        answer = _Answer(self.service, scope, send, without_body=head)
        scope[REQUEST_ID] = answer.id
        # Every log line of this request has its id, and the id of the job where the path has one.
        with bound_contextvars(request=answer.id):
            await self._answer(scope, receive, answer)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, receive, answer.send)
            else:
                await self._respond(Request(scope), refusal)(scope, receive, answer.send)
        except ClientDisconnect:
            log.info("request.broken_off", method=scope["method"], path=scope["path"])
        except Exception as error:
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if answer.status is not None:
                raise  # the answer has begun: the client must see that it broke off
            problem = Problem(
                "internal",
                f"An error that was not expected. The server's log has it under {answer.id}.",
                extra={"id": answer.id},
            )
            del error
            await self._respond(Request(scope), problem)(scope, receive, answer.send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self._hosts and host_name(host) not in self._hosts:
            return Problem("unknown_host", "This server does not answer to that host name.")
        origin = headers.get("origin")
        if origin is None or scope["method"] in SAFE_METHODS or origin.lower() in self.service.settings.cors_origins:
            return None
        if origin.lower() != f"{scope['scheme']}://{host}":
            behind = " Behind a proxy with TLS, name it in ADDER_TRUSTED_PROXIES." if origin.startswith("https") else ""
            return Problem("foreign_origin", f"A page of another origin must not change anything here.{behind}")
        return None


class _Answer:
    """Passes the answer on: it adds headers, drops the body for HEAD, and counts and logs the request."""

    def __init__(self, service: Service, scope: Scope, send: Send, *, without_body: bool) -> None:
        self.id = secrets.token_hex(8)
        self.status: int | None = None
        self._service = service
        self._scope = scope
        self._send = send
        self._without_body = without_body
        self._began = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
            route = getattr(self._scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - self._began
            self._service.request_metrics.observe(self._scope["method"], route, message["status"], seconds)
            self._log(message, route, seconds)
        elif self._without_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _log(self, start: Message, route: str, seconds: float) -> None:
        """Logs requests that change something or fail. Polling pages and clients would drown them out."""
        unwell = start["status"] >= 500
        if unwell or self._scope["method"] not in SAFE_METHODS:
            write = log.warning if unwell else log.info
            said = {"method": self._scope["method"], "route": route, "status": start["status"]}
            if location := Headers(scope={"headers": start["headers"]}).get("location"):
                said["location"] = location  # has the id of what was created
            write("request.answered", seconds=round(seconds, 4), **said)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = self.id
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Referrer-Policy", "no-referrer")
        location = headers.get("location", "")
        if location.startswith("/"):
            headers["Location"] = self._service.settings.path_prefix + location
        kind = headers.get("content-type", "")
        if kind.startswith("text/html"):
            headers.setdefault("Content-Security-Policy", HTML_POLICY)
            headers.setdefault("X-Frame-Options", "DENY")
        if kind.startswith("image/svg"):
            headers.setdefault("Content-Security-Policy", DRAWING_POLICY)
        if "json" in kind:
            headers.setdefault("Cache-Control", "no-store")


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Host names that requests may use; an empty set allows all.

    On loopback other names are refused, because a page could rebind its own name to 127.0.0.1 (DNS rebinding).
    """
    if not settings.allowed_hosts and not settings.on_loopback:
        return frozenset()
    return LOOPBACK_NAMES | {settings.host.lower(), *settings.allowed_hosts}


def host_name(host: str) -> str:
    """A Host header without its port: `localhost` for `localhost:8000`, `[::1]` for `[::1]:8000`."""
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdecimal() else host
