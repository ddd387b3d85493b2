"""Connections that bring nothing, too much, or are too many."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress

from tests.attack.line import Seen, line
from tests.attack.service import Service, spec
from tests.support.servers import wait_until


@line(6, "a head of 200 MB")
def long_head(service: Service) -> Seen:
    sent = 0
    with socket.create_connection(service.address, 30) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        try:
            while sent < 200 * 2**20:
                sent += one.send(b"x" * 2**20)
        except OSError:
            pass
        try:
            status = one.recv(100).split(b"\r\n")[0].decode()
        except OSError:
            status = "reset"
    used = service.memory("api")
    return Seen(used < 400 * 2**20, f"{status!r} after {sent / 2**20:.0f} MiB; the API has {used / 2**20:.0f} MiB")


@line(6, "300 silent connections", long=True)
def silent(service: Service) -> Seen:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(service.address, 30)) for _ in range(300)]
        status = _status(service)
        with suppress(TimeoutError):  # what is left then is counted
            wait_until(lambda: all(_closed(one) for one in held), "the connections to be closed", 120)
        left = sum(not _closed(one) for one in held)
    return Seen(left == 0 and _status(service) == 200, f"{status} meanwhile; {left} are left open")


def _status(service: Service) -> int:
    return service.api.get("/healthz").status_code


def _closed(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        while data := one.recv(65536):
            del data
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


@line(10, "one client that takes all streams")
def streams(service: Service) -> Seen:
    job = service.api.post("/v1/jobs", json=spec(labels={"held": "yes"}, resources={"memory_gb": 100_000})).json()
    if "id" not in job:
        job = service.api.post("/v1/jobs", json=spec(epochs=100)).json()
    opened, refused = 0, 0
    with ExitStack() as stack:
        for _ in range(70):
            one = stack.enter_context(socket.create_connection(service.address, 30))
            one.sendall(f"GET /v1/jobs/{job['id']}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            good = b" 200 " in one.recv(64)
            opened, refused = opened + good, refused + (not good)
    service.api.post(f"/v1/jobs/{job['id']}/cancel")
    return Seen(opened <= 16, f"{opened} opened, {refused} refused")


@line(16, "a body over the limit, seen by an ordinary client")
def long_bodies(service: Service) -> Seen:
    found = []
    for megabytes in (2, 8, 48):
        request = urllib.request.Request(
            f"{service.url}/v1/jobs", b"x" * megabytes * 2**20, {"Content-Type": "application/json"}
        )
        try:
            found.append(str(urllib.request.urlopen(request).status))
        except urllib.error.HTTPError as error:
            found.append(str(error.code))
        except OSError as error:
            found.append(type(error).__name__)
    return Seen(found == ["413"] * 3, ", ".join(found))
