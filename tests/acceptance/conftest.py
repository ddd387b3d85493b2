"""The whole service as a user starts it: `adder up` in a process of its own, spoken to over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from adderclient import Client
from benchmarks.programs import die_with_parent
from tests.support.servers import wait_until

QUICK = {
    "ADDER_LEASE_SECONDS": "4",
    "ADDER_RENEW_SECONDS": "1",
    "ADDER_POLL_SECONDS": "0.2",
    "ADDER_WRITE_SECONDS": "0.2",
    "ADDER_RECONCILE_SECONDS": "0.5",
}


class Service:
    """`adder up` on a folder; may be stopped and started again."""

    def __init__(self, data: Path, database_url: str | None = None, workers: int = 1) -> None:
        self.data = data
        self.workers = workers
        self._env = os.environ | QUICK | ({"ADDER_DATABASE_URL": database_url} if database_url else {})
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        options = ["--port", "0", "--data", str(self.data), "--workers", str(self.workers), "--ready-timeout", "240"]
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("adder")), "up", *options],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.fullmatch(r"Adderworks is ready at (http://\S+)\n", line)
        assert found is not None, f"adder up said {line!r}"
        self.url = found[1]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(timeout=300) == 0
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def client(self) -> Client:
        return Client(self.url)

    def processes(self, *words: str) -> list[int]:
        """Process ids below `up` whose command line holds all words, or the ends of those that are ids of jobs."""
        assert self._process is not None
        return [pid for pid in descendants(self._process.pid) if _holds(command_of(pid), words)]

    def kill(self, *words: str) -> None:
        """kill -9 of every such process; there must be one."""
        wait_until(lambda: bool(self.processes(*words)), f"a process with {words}")
        for pid in self.processes(*words):
            os.kill(pid, signal.SIGKILL)


def _holds(command: str, words: Sequence[str]) -> bool:
    return all(word in command or (word.startswith("job_") and word[-11:] in command) for word in words)


def command_of(pid: int) -> str:
    """The command line of a process. A forked training has that of its template, and is known by its name."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name.startswith(("adder-job", "job ")):
            return f"worker.child {name}"
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


@contextmanager
def running_service(data: Path, database_url: str | None = None, workers: int = 1) -> Iterator[Service]:
    service = Service(data, database_url, workers)
    try:
        service.start()
        yield service
    except BaseException:
        for log in sorted((data / "logs").glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
        raise
    finally:
        service.stop()


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Service]:
    """A running service, on each kind of database."""
    with running_service(tmp_path / "data", database_url) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Service]:
    """A running service on its embedded database."""
    with running_service(tmp_path / "data") as running:
        yield running
