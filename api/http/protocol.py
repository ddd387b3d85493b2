"""uvicorn's HTTP protocol with bounds: connections, the size and time of a request's head, the pace of its body.

What does not fit is answered with problem details, as the API answers every error. A request that was answered before
its body had arrived is read on for a bounded time and amount: a connection that is closed with unread bytes is reset,
and ordinary clients, which read the answer once they have sent all, would never see it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.http.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Problem
from api.http.shares import Exhausted, Shares
from jobs.settings import Settings

MAX_FIELDS = 100
"""Header fields of a request."""
MAX_PIPELINED = 16
"""Requests that may wait on one connection for the answers before them (RFC 9112, 9.3.2)."""
LATE_LINGER_SECONDS = 1.0
"""How long a connection that took too long is kept at most, so that its client sees the answer."""


class Edge:
    """What all connections of one API process share.

    Args:
        settings: the bounds.
        connections: how many there may be at all; fewer than the settings say where the system has fewer files.
    """

    def __init__(self, settings: Settings, connections: int) -> None:
        self.settings = settings
        self.connections = Shares(connections, settings.max_client_connections)
        self._proxies = [ip_network(name) for name in settings.trusted_proxies]

    def counted(self, address: str) -> str | None:
        """The address as the limits of one client count it; None for a proxy, which speaks for many."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None  # a unix socket
        return None if any(parsed in network for network in self._proxies) else address


def protocol_of(settings: Settings, connections: int | None = None) -> type[asyncio.Protocol]:
    """The protocol class for the connections of one server."""

    class Bound(BoundedProtocol):
        edge = Edge(settings, settings.max_connections if connections is None else connections)

    return Bound


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Make its class with `protocol_of`."""

    edge: ClassVar[Edge]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._admitted: tuple[str | None] | None = None
        """The client as the limits count it, once the connection has its place."""
        self._in_head = False
        self._unread = False
        """Whether the body of the current request has not arrived wholly."""
        self._unnamed_bytes = 0
        """Bytes since the parser said something: of a field, a trailer or a chunk's extension that does not end."""
        self._named_bytes = 0
        """Bytes of the first line and the fields that are known."""
        self._body_bytes = 0
        """Bytes since the last look at the body's pace."""
        self._dropped = 0
        self.deaf = False
        """What arrives is dropped without being read: the connection was refused."""
        self._leaving = False
        """The connection is to be closed once the request has arrived."""
        self._refusal: Problem | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a place for the connection, or refuses it."""
        super().connection_made(transport)
        client = self.edge.counted(self.client[0]) if self.client else None
        try:
            self.edge.connections.take(client)
        except Exhausted as full:
            self._refuse(_too_many(full), linger=0)
            return
        self._admitted = (client,)
        self._arm(self.edge.settings.header_seconds, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place back."""
        self._disarm()
        if self._admitted is not None:
            self.edge.connections.give_back(*self._admitted)
            self._admitted = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads what has arrived, or drops what follows an answer."""
        if self.deaf or self._answered_early:
            self._dropped += len(data)
            if self._dropped > self.edge.settings.max_dropped_bytes:
                self.transport.abort()
                return
        if self.deaf:
            return
        self._unnamed_bytes += len(data)
        super().data_received(data)
        if self.deaf or self.transport.is_closing():
            return
        if self._unnamed_bytes > self.edge.settings.max_header_bytes + len(data):
            self._refuse(self._head_too_long())
            return
        idle = self.cycle is None or self.cycle.response_complete
        if self._timer is None and (self._in_head or (idle and not self._unread)):
            self._arm(self.edge.settings.header_seconds, self._head_late)

    # What the parser finds

    def on_message_begin(self) -> None:
        self._in_head, self._unread = True, True
        self._unnamed_bytes = self._named_bytes = self._body_bytes = self._dropped = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + len(b": \r\n"))
        if len(self.headers) >= MAX_FIELDS:
            raise self._refused(Problem("head_too_long", f"The request has more than {MAX_FIELDS} header fields."))
        super().on_header(name, value)

    def _count_head(self, amount: int) -> None:
        self._unnamed_bytes = 0
        self._named_bytes += amount
        if self._named_bytes > self.edge.settings.max_header_bytes:
            raise self._refused(self._head_too_long())

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            raise self._refused(Problem("bad_request", f"More than {MAX_PIPELINED} requests wait on this connection."))
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Answering(self, self.cycle))
        self._arm(self.edge.settings.body_seconds, self._look_at_pace)

    def on_body(self, body: bytes) -> None:
        self._unnamed_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = False
        self._disarm()
        super().on_message_complete()
        if self._leaving:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._answered_early:
            self._unset_keepalive_if_required()
            self._arm(self.edge.settings.drop_seconds, self.transport.abort)

    @property
    def _answered_early(self) -> bool:
        """Whether the current request was answered and its body still arrives."""
        return self._unread and not self._in_head and self.cycle is not None and self.cycle.response_complete

    def finish(self, cycle: RequestResponseCycle) -> None:
        """Closes the connection after an answer: at once, or when the request's body has arrived."""
        if cycle is self.cycle and self._answered_early:
            self._leaving = True
        else:
            self.transport.close()

    # Time

    def _arm(self, seconds: float, then: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        seconds = self.edge.settings.header_seconds
        if self._in_head:
            self._refuse(
                Problem("request_timeout", f"The request's head took more than {seconds:g} s (ADDER_HEADER_SECONDS)."),
                linger=LATE_LINGER_SECONDS,
            )
        else:
            self.transport.close()

    def _look_at_pace(self) -> None:
        """Looks whether the body brought enough since the last time, unless it is the server that does not read."""
        self._timer = None
        settings = self.edge.settings
        arrived, self._body_bytes = self._body_bytes, 0
        waits = self.flow.read_paused or self.cycle.waiting_for_100_continue
        if waits or arrived >= settings.min_body_rate * settings.body_seconds:
            self._arm(settings.body_seconds, self._look_at_pace)
            return
        detail = (
            f"{settings.body_seconds:g} s brought {arrived} bytes of the body; at least {settings.min_body_rate} "
            "bytes a second are needed (ADDER_MIN_BODY_RATE, ADDER_BODY_SECONDS)."
        )
        self._refuse(Problem("request_timeout", detail), linger=LATE_LINGER_SECONDS)

    # Refusals

    def _refused(self, problem: Problem) -> ValueError:
        """What a callback raises to end the parsing; `send_400_response` then answers with the problem."""
        self._refusal = problem
        return ValueError(problem.detail)

    def _head_too_long(self) -> Problem:
        most = self.edge.settings.max_header_bytes
        return Problem("head_too_long", f"The request's head is longer than {most} bytes (ADDER_MAX_HEADER_BYTES).")

    def send_400_response(self, msg: str) -> None:
        """Answers malformed HTTP. `msg` is one of uvicorn's constants."""
        self._refuse(self._refusal or Problem("bad_request", msg))

    def _refuse(self, problem: Problem, *, linger: float | None = None) -> None:
        """Answers a problem and ends the connection.

        Args:
            problem: the answer.
            linger: for how many seconds at most what still arrives is dropped before the connection is closed;
                `ADDER_DROP_SECONDS` where it is left out. A connection that is closed while bytes arrive is reset,
                and a reset may overtake the answer.
        """
        self._disarm()
        self._unset_keepalive_if_required()
        self.deaf = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # its call ends as if the client had gone
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.pipeline.clear()
                self.transport.abort()  # this answer would stand in the middle or in the place of another
                return
        body = json.dumps(problem.body()).encode()
        head = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if problem.status in (429, 503):
            head.append(f"retry-after: {RETRY_AFTER_SECONDS}")
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        seconds = self.edge.settings.drop_seconds
        if linger is not None:
            seconds = min(linger, seconds)
        if seconds:
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._dropped = 0
            self._arm(seconds, self.transport.abort)
        else:
            self.transport.close()


class _Answering:
    """The transport as uvicorn's request cycle uses it: it is closed by `BoundedProtocol.finish`."""

    def __init__(self, protocol: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    def write(self, data: bytes) -> None:
        if not self._protocol.deaf:
            self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.finish(self._cycle)


def _too_many(full: Exhausted) -> Problem:
    if full.of_client:
        detail = (
            f"{full.most} connections of this address are open, the most that may be (ADDER_MAX_CLIENT_CONNECTIONS)."
        )
        return Problem("client_limit", detail)
    return Problem("busy", f"{full.most} connections are open, the most that may be (ADDER_MAX_CONNECTIONS).")
