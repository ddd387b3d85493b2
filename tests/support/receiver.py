"""A web server on loopback that takes webhooks, and answers as a test wants."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpcore2

from jobs.webhooks.addresses import Guard

PUBLIC = "93.184.216.34"
"""An address that nobody dials: tests connect to loopback in its place."""


@dataclass(frozen=True)
class Taken:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Answers with a status and nothing more."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@dataclass
class Receiver:
    """Takes requests while its `with` block is open."""

    answer: Answer = field(default_factory=lambda: status(204))
    """How it answers from now on."""
    tls: ssl.SSLContext | None = None
    """What it serves https with; None: plain http."""
    taken: list[Taken] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.taken.append(Taken(self.path, headers, body))
                receiver.answer(self)

            def do_GET(self) -> None:  # whoever follows a redirect
                receiver.taken.append(Taken(self.path, {}, ""))
                receiver.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [taken.id for taken in self.taken]


@dataclass
class Net:
    """A network for a test: names with addresses, and addresses with ports on loopback."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """What a name leads to, each time it is looked up; the last one stays."""
    ports: dict[str, int] = field(default_factory=dict)
    """Where a connection to an address really goes."""
    dialled: list[tuple[str, int]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        found = self.names.get(host)
        if not found:
            raise OSError("unknown host")
        return found.pop(0) if len(found) > 1 else found[0]

    async def connect(self, address: str, port: int) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((address, port))
        if address not in self.ports:
            raise httpcore2.ConnectError("nobody is there")
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.ports[address])

    def guard(self, *, private: bool = False) -> Guard:
        return Guard(private=private, resolve=self.resolve, connect=self.connect)
