"""Connections, heads and bodies are bounded in number, size and time. Real sockets, as nobody's library sends such."""

from __future__ import annotations

import json
import resource
import select
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx2
import pytest
import requests

from api.__main__ import connections
from jobs.settings import MIB, Settings
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey, wait_until

Serve = Callable[..., Any]
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def serve(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Serve:
    """A server with these bounds."""

    @contextmanager
    def with_bounds(**bounds: Any) -> Iterator[Running]:
        with running(quick_settings(tmp_path, sqlite_url, valkey.url, **bounds)) as site:
            yield site

    return with_bounds


def connected(site: Running) -> socket.socket:
    host, _, port = site.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of what arrives until the server ends its side."""
    got = b""
    while piece := connection.recv(65536):
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def ended(connection: socket.socket) -> bool:
    """Waits until the server has closed the connection; whether it said nothing before."""
    try:
        return connection.recv(65536) == b""
    except ConnectionResetError:
        return True


def sent_until_reset(connection: socket.socket, piece: bytes, pause: float = 0, most: int = 200 * MIB) -> int:
    """Sends the piece again and again. Returns how many bytes the system took."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
    except OSError:
        pass  # reset, or a broken pipe
    return sent


def open_now(site: Running) -> int:
    protocol: Any = site.server.config.http_protocol_class
    return int(protocol.edge.connections.used)


def test_silent_connections_are_closed_and_take_no_place_from_others(serve: Serve) -> None:
    with serve(header_seconds=1) as site, ExitStack() as stack:
        silent = [stack.enter_context(connected(site)) for _ in range(200)]
        with site.client() as api:
            assert api.get("/healthz").status_code == 200
        assert all(ended(connection) for connection in silent)
        wait_until(lambda: open_now(site) == 0, "all places to be free")


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"GET /", b"\r\n"])
def test_a_head_that_comes_drop_by_drop_is_ended(serve: Serve, sent: bytes) -> None:
    with serve(header_seconds=1) as site, connected(site) as slow:
        slow.sendall(sent)
        over = threading.Event()
        drops: list[bytes] = []

        def drip() -> None:
            try:
                while not over.wait(0.1):
                    drops.append(b"\n" if sent == b"\r\n" else b"x")
                    slow.sendall(drops[-1])
            except OSError:
                pass  # the server has ended the connection

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            if sent == b"\r\n":
                assert ended(slow)
            else:
                select.select([slow], [], [], 60)
                before = len(drops)
                wait_until(lambda: len(drops) > before + 3 or not thread.is_alive(), "bytes to arrive after the answer")
                status, found = answer_of(slow)
                assert (status, found["code"]) == (408, "request_timeout")
                assert "ADDER_HEADER_SECONDS" in found["detail"]
                wait_until(lambda: open_now(site) == 0, "the place to be free, though more comes")
        finally:
            over.set()
            thread.join()


def test_a_second_request_has_its_time_too(serve: Serve) -> None:
    with serve(header_seconds=1) as site, connected(site) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /h")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        status, _ = answer_of(kept)
        assert status == 408


def test_a_body_that_comes_too_slowly_is_ended(serve: Serve) -> None:
    with serve(body_seconds=1, min_body_rate=100) as site, connected(site) as slow:
        slow.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
        status, found = answer_of(slow)
        assert (status, found["code"]) == (408, "request_timeout")
        assert "ADDER_MIN_BODY_RATE" in found["detail"]
        with site.client() as api:
            assert api.get("/healthz").status_code == 200


@pytest.mark.parametrize("kind", ["field", "fields", "address", "name", "trailer"])
def test_a_head_of_200_megabytes_is_refused_and_not_collected(serve: Serve, kind: str) -> None:
    begin, piece = {
        "field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x" * 2**16),
        "fields": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
        "address": (b"GET /", b"x" * 2**16),
        "name": (b"GET / HTTP/1.1\r\n", b"x" * 2**16),
        "trailer": (
            POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
            b"x" * 2**16,
        ),
    }[kind]
    with serve(drop_seconds=60) as site, connected(site) as sender:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer: list[tuple[int, dict[str, Any]]] = []
        reader = threading.Thread(target=lambda: answer.append(answer_of(sender)))
        reader.start()
        sender.sendall(begin)
        sent = sent_until_reset(sender, piece)
        reader.join(timeout=60)
        assert sent < 100 * MIB, "the connection is reset some time"
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 20 * MIB
        if answer:  # a reset may overtake it
            assert answer[0][0] in (400, 431)


def test_a_long_head_gets_its_answer(serve: Serve) -> None:
    with serve() as site:
        for headers in ({"X": "x" * 70_000}, {f"X{n}": "x" for n in range(120)}):
            answer = requests.get(f"{site.url}/healthz", headers=headers, timeout=60)
            assert (answer.status_code, answer.json()["code"]) == (431, "head_too_long")
        assert requests.get(f"{site.url}/healthz", headers={"X": "x" * 60_000}, timeout=60).status_code == 200


def test_connections_are_bounded_for_each_client_and_in_all(serve: Serve) -> None:
    for bounds, status, code in (
        ({"max_client_connections": 5}, 429, "client_limit"),
        ({"max_connections": 5}, 503, "busy"),
    ):
        with serve(**bounds) as site:
            with ExitStack() as stack:
                for _ in range(5):
                    stack.enter_context(connected(site))
                wait_until(lambda site=site: open_now(site) == 5, "five connections")  # type: ignore[misc]
                with connected(site) as sixth:
                    assert answer_of(sixth)[0] == status
                with connected(site) as seventh:
                    assert answer_of(seventh)[1]["code"] == code
            wait_until(lambda site=site: open_now(site) == 0, "all places to be free")  # type: ignore[misc]
            with site.client() as api:
                assert api.get("/healthz").status_code == 200


def test_a_proxy_that_is_trusted_speaks_for_many(serve: Serve) -> None:
    with serve(max_client_connections=2, trusted_proxies="127.0.0.0/8") as site, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(site))
        with site.client() as api:
            assert api.get("/healthz").status_code == 200


def test_no_more_connections_than_the_system_has_files_for() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, before[1]), before[1]))
        assert connections(Settings(max_connections=1000)) == 1000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1300
        assert connections(Settings(max_connections=10**9)) < 10**9
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("megabytes", [2, *(pytest.param(n, marks=pytest.mark.long("a slow sender")) for n in (8, 64))])
@pytest.mark.parametrize("close", [False, True])
def test_a_body_over_its_limit_gets_its_413(serve: Serve, megabytes: int, close: bool) -> None:
    body = b" " * (megabytes * 10**6)
    with serve() as site:
        url = f"{site.url}/v1/jobs"
        headers = {"Content-Type": "application/json", **({"Connection": "close"} if close else {})}
        with pytest.raises(HTTPError) as refused:  # urllib closes its connections in any case
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=120)
        assert refused.value.code == 413
        assert json.loads(refused.value.read())["code"] == "body_too_large"
        with requests.Session() as session:
            for _ in range(2):
                answer = session.post(url, data=body, headers=headers, timeout=120)
                assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
            chunked = session.post(url, data=iter([body[: 10**6]] * megabytes), headers=headers, timeout=120)
            assert chunked.status_code == 413
            assert session.get(f"{site.url}/healthz", timeout=60).status_code == 200
        with httpx2.Client(timeout=120, trust_env=False) as http:
            assert http.post(url, content=body, headers=headers).status_code == 413
        wait_until(lambda: open_now(site) == 0, "all connections to end")


def test_what_follows_an_answer_is_dropped_for_a_bounded_time_and_amount(serve: Serve) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 500000000\r\n\r\n"
    with serve(max_dropped_bytes=10 * MIB, drop_seconds=300) as site, connected(site) as sender:
        sender.sendall(head)
        assert (
            10 * MIB - 65536 <= sent_until_reset(sender, b"x" * 65536) < 40 * MIB
        )  # the rest lay in buffers of the system
    with serve(drop_seconds=1) as site, connected(site) as sender:
        sender.sendall(head)
        got = sender.recv(65536)
        assert got.startswith(b"HTTP/1.1 415")
        sent_until_reset(sender, b"x", pause=0.05)
        wait_until(lambda: open_now(site) == 0, "the connection to end")


def test_many_requests_at_once_on_one_connection(serve: Serve) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serve() as site:
        with connected(site) as few:
            few.sendall(one * 9 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            got = b""
            while piece := few.recv(65536):
                got += piece
            assert got.count(b"HTTP/1.1 200") == 10
        with connected(site) as many:
            many.sendall(one * 5000)
            assert ended(many) or many.recv(65536) is not None
        with site.client() as api:
            assert api.get("/healthz").status_code == 200
