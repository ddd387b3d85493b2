"""A real Valkey server for tests, which ends with the test process, also when that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from benchmarks.programs import die_with_parent

HANGS_SECONDS = 300.0
"""A test that waits so long for something waits for ever; a busy machine may well take a minute."""


def wait_until(ready: Callable[[], bool], what: str, seconds: float = HANGS_SECONDS, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {seconds} s")
        time.sleep(every)


class Valkey:
    """A Valkey server that tests may stop and start again on the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Unix sockets have short paths only; pytest's folders are long.
        self._sockets = tempfile.TemporaryDirectory(prefix="vk-")
        self.socket = Path(self._sockets.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the server says, over all its starts."""
        return self.folder / "valkey.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("Valkey does not run")
        return self._process.pid

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobs.valkey", "--dir", str(self.folder), "--socket", str(self.socket)],
                stdout=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

        def ready() -> bool:
            with self.client() as client:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

        wait_until(ready, "Valkey to answer")

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(timeout=HANGS_SECONDS)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self._sockets.cleanup()
