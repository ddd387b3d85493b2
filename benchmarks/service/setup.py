"""The service as the benchmarks drive it: real processes on a fresh data folder and a fresh database, over HTTP."""

from __future__ import annotations

import itertools
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen, run

from sqlalchemy import select

from adderclient import AdderClientError, Client
from benchmarks.cpu import children, command_line
from benchmarks.postgres import Postgres, postgres_server
from benchmarks.programs import log_end, program, python, server_environment
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.tables import Worker

READY_SECONDS = 120.0
TINY_CHILD = Path(__file__).with_name("tiny_child.py")
LOAD = Path(__file__).with_name("load.py")
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Amounts:
    """How much the load benchmarks do."""

    jobs: int = 10_000
    real_jobs: int = 300
    queue: int = 50_000
    """Longest queue that claims are timed on."""
    points: int = 1_000_000
    """Of the job whose metrics are read."""
    listed: int = 100_000
    """Jobs of the lists whose pages are timed."""
    seconds: float = 30.0
    """Of each measurement of metric writing and of many clients."""
    minutes: float = 30.0
    """Of the soak."""


QUICK = Amounts(jobs=100, real_jobs=4, queue=1_000, points=20_000, listed=2_000, seconds=5.0, minutes=1.0)


@dataclass
class Setup:
    """What a benchmark may ask for: databases, a scratch folder, how much to do."""

    databases: Sequence[str]
    scratch: Path
    quick: bool
    postgres: Postgres | None
    amounts: Amounts
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
def prepared(
    databases: Sequence[str], scratch: Path | None, quick: bool, amounts: Amounts | None = None
) -> Iterator[Setup]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch)))
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = stack.enter_context(postgres_server(folder)) if "postgresql" in databases else None
        yield Setup(databases, folder, quick, postgres, amounts or (QUICK if quick else Amounts()))


@dataclass(frozen=True)
class Running:
    """A service that is ready."""

    url: str
    parts: dict[str, int]
    """Process ids by role: up, api, worker, broker, inference."""
    log: Path
    """What the worker says."""


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
        _wait(lambda: not _probing(parts["worker"]), "the worker's probe to end", process, log)
        yield Running(url, parts, folder / "data" / "logs" / "worker.log")


def _probing(worker: int) -> bool:
    """Whether the worker still looks at its machine. Its template stays."""
    return any("worker.template" not in command_line(pid) for pid in children(worker))


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


@dataclass(frozen=True)
class Alone:
    """Broker and API without a worker: what is submitted stays queued until `workers` are started beside them."""

    url: str
    database_url: str
    environment: Mapping[str, str]
    """The settings as a program of the service reads them."""
    folder: Path
    parts: Mapping[str, int]
    """Process ids by role: api, broker."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def workers(self, count: int, **settings: str) -> Iterator[list[Popen[bytes]]]:
        """Workers that have looked at their machine: what comes later does not share its cores with their probes."""
        environment = {**self.environment, **{f"ADDER_{key.upper()}": value for key, value in settings.items()}}
        database = Database(self.database_url)
        with ExitStack() as stack:
            stack.callback(database.dispose)
            logs = [self.folder / f"worker-{number}.log" for number in itertools.islice(self._numbers, count)]
            started = [stack.enter_context(program(python("-m", "worker"), environment, log)) for log in logs]
            for process, log in zip(started, logs, strict=True):
                _wait(partial(_probed, database, process.pid), "a worker to be ready", process, log)
            yield started


def _probed(database: Database, pid: int) -> bool:
    with database.read(DEFAULT) as session:
        return bool(session.execute(select(Worker.info).where(Worker.pid == pid)).scalar_one_or_none())


@contextmanager
def api_alone(setup: Setup, database: str, **settings: str) -> Iterator[Alone]:
    """Migrations, broker and API, no worker."""
    folder = setup.folder()
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-"))  # their paths must be short
        broker = Path(sockets) / "s"
        database_url = setup.database_url(database, folder)
        environment = server_environment(
            database_url=database_url,
            broker_url=f"redis+socket://{broker}?virtual_host=0",
            data_dir=str(folder / "data"),
            **settings,
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
        yield Alone(url, database_url, environment, folder, {"api": process.pid, "broker": broker_process.pid})


def _wait(true: Callable[[], bool], what: str, process: Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}; {log_end(log)}")
        time.sleep(0.05)
