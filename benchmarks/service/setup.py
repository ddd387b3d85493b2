"""The service as the benchmarks drive it: real processes on a fresh data folder and a fresh database, over HTTP."""

from __future__ import annotations

import itertools
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, Popen, run

from adderclient import AdderClientError, Client
from benchmarks.cpu import children, command_line
from benchmarks.postgres import Postgres, postgres_server
from benchmarks.programs import log_end, program, python, server_environment

READY_SECONDS = 120.0
TINY_CHILD = Path(__file__).with_name("tiny_child.py")
DATABASES = ("sqlite", "postgresql")


@dataclass
class Setup:
    """What a benchmark may ask for: databases, a scratch folder, how much to do."""

    databases: Sequence[str]
    scratch: Path
    quick: bool
    postgres: Postgres | None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def folder(self) -> Path:
        path = self.scratch / f"{next(self._numbers)}"
        path.mkdir()
        return path

    def database_url(self, database: str, folder: Path) -> str:
        """An empty database of that kind; SQLite's lies in the folder."""
        if database == "sqlite":
            return f"sqlite:///{folder / 'adder.db'}"
        assert self.postgres is not None
        return self.postgres.new_database()


@contextmanager
def prepared(databases: Sequence[str], scratch: Path | None, quick: bool) -> Iterator[Setup]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch)))
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = stack.enter_context(postgres_server(folder)) if "postgresql" in databases else None
        yield Setup(databases, folder, quick, postgres)


@dataclass(frozen=True)
class Running:
    """A service that is ready."""

    url: str
    parts: dict[str, int]
    """Process ids by role: up, api, worker, broker, inference."""


@contextmanager
def adder_up(setup: Setup, database: str, **settings: str) -> Iterator[Running]:
    """`adder up` with one worker, once all its parts are ready and the worker has looked at its machine."""
    folder = setup.folder()
    log = folder / "up.log"
    environment = server_environment(database_url=setup.database_url(database, folder), **settings)
    command = [str(Path(sys.executable).with_name("adder")), "up", "--port", "0", "--data", str(folder / "data")]
    with program(command, environment, log) as process:
        url = _announced(process, log)
        parts = {_role(command_line(pid)): pid for pid in children(process.pid)} | {"up": process.pid}
        _wait(lambda: not children(parts["worker"]), "the worker's probe to end", process, log)
        yield Running(url, parts)


def _announced(process: Popen[bytes], log: Path) -> str:
    """The address in the line `Adderworks is ready at http://…`."""

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if line.startswith("Adderworks is ready at ")]

    _wait(lambda: bool(lines()), "the service to be ready", process, log)
    return lines()[0].rpartition(" ")[2]


def _role(command: str) -> str:
    for words, role in (("-m api", "api"), ("worker.inference", "inference"), ("-m worker", "worker")):
        if words in command:
            return role
    if "valkey" in command:
        return "broker"
    raise RuntimeError(f"adder up runs something this benchmark does not know: {command!r}")


@contextmanager
def api_alone(setup: Setup, database: str) -> Iterator[str]:
    """Migrations, broker and API, no worker: what is submitted stays queued. Yields the API's address."""
    folder = setup.folder()
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-"))  # their paths must be short
        broker = Path(sockets) / "s"
        environment = server_environment(
            database_url=setup.database_url(database, folder),
            broker_url=f"redis+socket://{broker}?virtual_host=0",
            data_dir=str(folder / "data"),
        )
        run(python("-m", "jobs.migrate"), env=environment, check=True, stdin=DEVNULL, timeout=READY_SECONDS)
        valkey = python("-m", "jobs.valkey", "--dir", folder / "valkey", "--socket", broker)
        broker_process = stack.enter_context(program(valkey, environment, folder / "broker.log"))
        _wait(broker.exists, "the broker's socket", broker_process, folder / "broker.log")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
        api = python("-m", "api", "--fd", str(listener.fileno()))
        process = stack.enter_context(program(api, environment, folder / "api.log", fds=[listener.fileno()]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = stack.enter_context(Client(url, timeout=5.0))

        def answers() -> bool:
            try:
                client.ready()
            except AdderClientError:
                return False
            return True

        _wait(answers, "the API to answer", process, folder / "api.log")
        yield url


def _wait(true: Callable[[], bool], what: str, process: Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}; {log_end(log)}")
        time.sleep(0.05)
