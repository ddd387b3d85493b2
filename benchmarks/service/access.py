"""What keys cost: GET and POST of a job with authentication off and on, by turns, one request at a time."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

from benchmarks.rows import Row, filesystem
from benchmarks.service.setup import Setup, api_alone
from jobs.access import keys

BLOCKS, QUICK_BLOCKS = 20, 2
EACH = 50  # pairs of requests in a block, of each kind
WARM_UP = 20  # requests of each kind that are not counted
BODY = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "labels": {"user": "ann"}}
KINDS = ("GET of a job", "POST of a job")
MODES = ("off", "on")


class _Side:
    """A service with authentication off or on, one connection to it, and a job that waits there."""

    def __init__(self, url: str, key: str | None) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=60)
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._body = json.dumps(BODY).encode()
        self._job = json.loads(self._send("POST", "/v1/jobs", self._body))["id"]

    def _send(self, method: str, target: str, body: bytes | None) -> bytes:
        self._connection.request(method, target, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{method} {target} was answered {response.status}: {answer[:200]!r}")
        return answer

    def timed(self, kind: str) -> float:
        """ms from the request to the last byte of its answer."""
        began = time.perf_counter()
        if kind.startswith("GET"):
            self._send("GET", f"/v1/jobs/{self._job}", None)
        else:
            self._send("POST", "/v1/jobs", self._body)
        return 1000 * (time.perf_counter() - began)

    def close(self) -> None:
        self._connection.close()


def measure(setup: Setup) -> Iterator[Row]:
    blocks = QUICK_BLOCKS if setup.quick else BLOCKS
    for database in setup.databases:
        with ExitStack() as stack:
            key = keys.new_text()
            urls = {
                mode: stack.enter_context(api_alone(setup, database, auth=mode, operator_key=key)).url for mode in MODES
            }
            sides = {mode: _Side(urls[mode], key if mode == "on" else None) for mode in MODES}
            for side in sides.values():
                stack.callback(side.close)
            load = os.getloadavg()
            about = {"database": database, "quick": setup.quick, "filesystem": filesystem(setup.scratch)}
            for kind in KINDS:
                for _ in range(WARM_UP):
                    for side in sides.values():
                        side.timed(kind)
                found = [_block(sides, kind) for _ in range(blocks)]
                for mode in MODES:
                    times = [one for block in found for one in block[mode]]
                    yield Row(kind, f"{database}, auth {mode}", "ms", times, load, about)
                ratios = [statistics.median(block["on"]) / statistics.median(block["off"]) for block in found]
                yield Row(f"{kind}, on over off", f"{database}, medians of {EACH} pairs", "ratio", ratios, load, about)


def _block(sides: dict[str, _Side], kind: str) -> dict[str, list[float]]:
    """Times by mode; of each pair of requests another mode goes first."""
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(EACH):
        for mode in MODES if number % 2 else reversed(MODES):
            found[mode].append(sides[mode].timed(kind))
    return found
