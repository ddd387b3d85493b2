"""`python -m tests.fuzz.watch HOST PORT PID SECONDS`: asks `/healthz` ten times a second, until its input ends.

A process of its own, so that the fuzzer's work does not make the answers late. The machine is shared: the time for
which the API's threads or this one could run and had no core (Linux, schedstat) is not counted as the API's: a thread
that holds the interpreter's lock and has no core keeps the others waiting. With a free core that is nothing.
It prints one JSON document at its end.
"""

from __future__ import annotations

import bisect
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EVERY_SECONDS = 0.1


def main() -> int:
    host, port, server, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    asked, slowest, slowest_seen, slow = 0, 0.0, 0.0, []
    while not over.is_set():
        time.sleep(EVERY_SECONDS)
        waited = waiting(server) + waiting(os.getpid())
        status, seen = ask(host, port)
        took = max(0.0, seen - (waiting(server) + waiting(os.getpid()) - waited))
        asked, slowest, slowest_seen = asked + 1, max(slowest, took), max(slowest_seen, seen)
        if took > most or status != "200":
            slow.append((time.monotonic(), status, took))
    print(json.dumps({"asked": asked, "slowest": slowest, "slowest_seen": slowest_seen, "slow": slow}))
    return 0


def waiting(process: int) -> float:
    """Seconds for which a process's threads have waited for a core, together; 0 where the system does not say."""
    seconds = 0.0
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            seconds += int(path.read_text().split()[1]) / 1e9
    return seconds


def ask(host: str, port: int) -> tuple[str, float]:
    """The status, or the error's name, and how long that took in seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("GET", "/healthz")
        status = str(connection.getresponse().status)
    except OSError as error:
        status = type(error).__name__
    finally:
        connection.close()
    return status, time.monotonic() - began


@dataclass(frozen=True)
class Health:
    asked: int
    slowest: float
    """Seconds of the slowest answer, without what API and asker waited for a core."""
    slowest_seen: float
    """Seconds of the slowest answer with that."""
    slow: list[str]
    """The answers that were late or none, with what was done then."""


class Watch:
    """The process that asks, and what the fuzzer does meanwhile.

    Args:
        address: of the API.
        server: its process.
        most: seconds of the longest answer of `/healthz` that is right.
    """

    def __init__(self, address: tuple[str, int], server: int, most: float) -> None:
        command = [sys.executable, "-m", "tests.fuzz.watch", address[0], str(address[1]), str(server), str(most)]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        self._since: list[float] = [0.0]
        self._what: list[str] = ["it started"]

    def doing(self, what: str) -> None:
        """Notes what is being tried from now on."""
        self._since.append(time.monotonic())
        self._what.append(what)

    def stop(self) -> Health:
        """Ends the process and says what it saw."""
        said, _ = self._process.communicate()
        found = json.loads(said)
        slow = [
            f"/healthz: {status} after {took * 1000:.0f} ms, while {self._what[bisect.bisect(self._since, at) - 1]}"
            for at, status, took in found["slow"]
        ]
        return Health(found["asked"], found["slowest"], found["slowest_seen"], slow)


if __name__ == "__main__":
    sys.exit(main())
