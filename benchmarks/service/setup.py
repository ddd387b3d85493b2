"""The service as the benchmarks drive it: real processes on a fresh data folder and a fresh database, over HTTP."""

from __future__ import annotations

import itertools
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen, run

from sqlalchemy import select

from adderclient import AdderClientError, Client
from benchmarks.cpu import children, command_line
from benchmarks.postgres import Postgres, postgres_server
from benchmarks.programs import log_end, program, python, server_environment
from benchmarks.s3 import S3Server
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.tables import Worker

READY_SECONDS = 120.0
TINY_CHILD = Path(__file__).with_name("tiny_child.py")
LOAD = Path(__file__).with_name("load.py")
DATABASES = ("sqlite", "postgresql")
STORES = ("folder", "s3")


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


@dataclass(frozen=True)
class Deployment:
    """What the service consists of, beside its database and a Valkey server."""

    apis: int = 1
    """API processes; clients take them by turns."""
    workers: int = 8
    store: str = "folder"
    """Where artifacts lie: a folder that all processes share, or an S3 server. With `s3` each process has a data folder
    of its own, as on many machines."""


@dataclass
class Setup:
    """What a benchmark may ask for: databases, a scratch folder, how much to do, and of what the service consists."""

    databases: Sequence[str]
    scratch: Path
    quick: bool
    postgres: Postgres | None
    amounts: Amounts
    deployment: Deployment = Deployment()
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
    databases: Sequence[str],
    scratch: Path | None,
    quick: bool,
    amounts: Amounts | None = None,
    deployment: Deployment = Deployment(),
) -> Iterator[Setup]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch)))
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = stack.enter_context(postgres_server(folder)) if "postgresql" in databases else None
        yield Setup(databases, folder, quick, postgres, amounts or (QUICK if quick else Amounts()), deployment)


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
    """Broker and APIs without a worker: what is submitted stays queued until `workers` are started beside them."""

    urls: Sequence[str]
    """Of the APIs."""
    database_url: str
    environment: Mapping[str, str]
    """The settings as a program of the service reads them."""
    folder: Path
    parts: Mapping[str, int]
    """Process ids by role: api, api 2, …, broker; s3, where there is such a server."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        return self.urls[0]

    @contextmanager
    def workers(self, count: int, **settings: str) -> Iterator[list[Popen[bytes]]]:
        """Workers that have looked at their machine: what comes later does not share its cores with their probes."""
        environment = {**self.environment, **{f"ADDER_{key.upper()}": value for key, value in settings.items()}}
        database = Database(self.database_url)
        with ExitStack() as stack:
            stack.callback(database.dispose)
            started: list[tuple[Popen[bytes], Path]] = []
            for name in (f"worker-{number}" for number in itertools.islice(self._numbers, count)):
                log, own = self.folder / f"{name}.log", self.own(environment, name)
                started.append((stack.enter_context(program(python("-m", "worker"), own, log)), log))
            for process, log in started:
                _wait(partial(_probed, database, process.pid), "a worker to be ready", process, log)
            yield [process for process, _ in started]
            for process, _ in started:
                process.terminate()  # all at once: each takes its time

    def own(self, environment: Mapping[str, str], name: str) -> Mapping[str, str]:
        """With a data folder of this process's own where the artifacts do not lie in it."""
        return {**environment, "ADDER_DATA_DIR": str(self.folder / name)} if "s3" in self.parts else environment


def _probed(database: Database, pid: int) -> bool:
    with database.read(DEFAULT) as session:
        return bool(session.execute(select(Worker.info).where(Worker.pid == pid)).scalar_one_or_none())


@contextmanager
def api_alone(
    setup: Setup, database: str, deployment: Deployment = Deployment(), /, **settings: str
) -> Iterator[Alone]:
    """Migrations, broker, APIs and the deployment's store, no worker."""
    folder = setup.folder()
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-"))  # their paths must be short
        broker = Path(sockets) / "s"
        database_url = setup.database_url(database, folder)
        parts: dict[str, int] = {}
        settings |= {
            "database_url": database_url, "broker_url": f"redis+socket://{broker}?virtual_host=0",
            "data_dir": str(folder / "data"),
        }  # fmt: skip
        environment: dict[str, str] = {}
        if deployment.store == "s3":
            s3 = stack.enter_context(closing(S3Server()))
            parts["s3"], environment, settings["artifacts_url"] = s3.pid, s3.environment, s3.bucket()
        service = Alone([], database_url, server_environment(**settings) | environment, folder, parts)
        run(python("-m", "jobs.migrate"), env=service.environment, check=True, stdin=DEVNULL, timeout=READY_SECONDS)
        valkey = python("-m", "jobs.valkey", "--dir", folder / "valkey", "--socket", broker)
        process = stack.enter_context(program(valkey, service.environment, folder / "broker.log"))
        parts["broker"] = process.pid
        _wait(broker.exists, "the broker's socket", process, folder / "broker.log")
        yield replace(service, urls=[_api(service, stack, parts, number) for number in range(deployment.apis)])


def _api(service: Alone, stack: ExitStack, parts: dict[str, int], number: int) -> str:
    """Starts one API process, enters it into the parts, and returns its address once it answers."""
    name = f"api {number + 1}" if number else "api"
    log = service.folder / f"{name}.log"
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
    command = python("-m", "api", "--fd", str(listener.fileno()))
    environment = service.own(service.environment, name)
    process = stack.enter_context(program(command, environment, log, fds=[listener.fileno()]))
    parts[name] = process.pid
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(url, timeout=5.0) as client:

        def answers() -> bool:
            try:
                client.ready()
            except AdderClientError:
                return False
            return True

        _wait(answers, "the API to answer", process, log)
    return url


def _wait(true: Callable[[], bool], what: str, process: Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}; {log_end(log)}")
        time.sleep(0.05)
