"""The system under test: API and workers as real processes on a fresh database, queue and data folder."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from adderclient import AdderClientError, Client
from addercore.config import merge
from benchmarks.programs import die_with_parent
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.settings import Settings
from jobs.states import FINAL, Status
from jobs.store import store_of
from jobs.tables import Attempt, Checkpoint, Job, Worker
from tests.conftest import quick_settings
from tests.faults.chain import Task
from tests.faults.holds import FOLDER, Holds
from tests.faults.servers import Servers
from tests.support.fleet import environment
from tests.support.keys import new_key
from tests.support.servers import wait_until
from tests.support.specs import train_body

Answer = TypeVar("Answer")
CHILD = (sys.executable, "-m", "tests.faults.chain_child")
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Accepted:
    """A job that the API has answered 201 for."""

    id: str
    task: Task | None
    """None: a real training."""
    ends: tuple[Status, ...] = (Status.SUCCEEDED,)


@dataclass(frozen=True)
class Running:
    """An attempt that is under way, with its processes."""

    job: str
    attempt: int
    worker: Program
    child: int


@dataclass(eq=False)
class Program:
    """A process of the service, its log and how it was started."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9; returns once the kernel has reaped it."""
        self.process.kill()
        self.process.wait(timeout=20)

    @property
    def killed(self) -> bool:
        return self.process.returncode == -signal.SIGKILL

    def said(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


@dataclass(frozen=True)
class Options:
    """What a fault needs of its stage."""

    workers: int = 4
    lease_seconds: float = 2.0
    patience: float = PATIENCE_SECONDS
    """Seconds after the last fault: a job that has not ended by then is lost."""
    data_mb: int = 0
    """Size of a file system of its own for the data folder; 0: an ordinary folder."""
    settings: Mapping[str, Any] = field(default_factory=dict)


class Stage:
    def __init__(self, folder: Path, servers: Servers, options: Options, *, fenced: bool) -> None:
        self.servers = servers
        self.folder = folder
        self._patience = options.patience
        self.settings: Settings = quick_settings(
            folder / "data",
            servers.new_database(),
            servers.valkey.url,
            child_command=CHILD,
            lease_seconds=options.lease_seconds,
            auth="on",
            **options.settings,
        )
        self.database = Database(self.settings.resolved_database_url)
        self.store = store_of(self.settings)
        self.holds = Holds(folder / "holds")
        self.facts: dict[str, Any] = {}
        """What a fault remembers of its own stage."""
        self.cleanup = ExitStack()
        """Closed after all processes have ended."""
        self.journal = folder / "journal"
        self.journal.touch()
        self.accepted: list[Accepted] = []
        self.workers: list[Program] = []
        """Those that run; `everyone` also has those that have ended."""
        self.everyone: list[Program] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.key = new_key(self.settings)
        self.client = Client(
            self.url, api_key=self.key, timeout=120.0
        )  # a busy machine takes its time to start another API
        own = {"FAULTS_JOURNAL": str(self.journal), FOLDER: str(self.holds.folder), "FAULTS_PROBE": str(servers.probe)}
        self._env = environment(self.settings, **own) | ({} if fenced else {"FAULTS_WITHOUT_FENCE": "1"})
        self.api = self._start_api()

    # processes

    def _program(self, name: str, *arguments: str, before: Callable[[], object] | None = None, **env: str) -> Program:
        log = self.folder / f"{name}.log"

        def prepare() -> None:
            die_with_parent(signal.SIGKILL)()
            if before is not None:
                before()

        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.launch", *arguments],
                env=self._env | env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                pass_fds=(self._listener.fileno(),) if arguments[0] == "api" else (), preexec_fn=prepare,
            )  # fmt: skip
        program = Program(name, log, process)
        self.everyone.append(program)
        return program

    def _start_api(self) -> Program:
        number = sum(program.name.startswith("api") for program in self.everyone)
        return self._program(f"api-{number}", "api", "--fd", str(self._listener.fileno()))

    def restart_api(self) -> Program:
        """The listening socket stays open meanwhile, as behind a proxy: requests wait for the next process."""
        if self.api.process.poll() is None:
            self.api.kill()
        self.api = self._start_api()
        return self.api

    def add_worker(self, *, before: Callable[[], object] | None = None, **env: str) -> Program:
        number = sum(program.name.startswith("worker") for program in self.everyone)
        worker = self._program(f"worker-{number}", "worker", before=before, **env)
        self.workers.append(worker)
        return worker

    def replace(self, worker: Program) -> Program:
        """A fresh worker in the place of one that has ended."""
        self.workers.remove(worker)
        return self.add_worker()

    def ready(self) -> None:
        """Until API and all workers say that they are there."""

        def alive() -> bool:
            for program in (self.api, *self.workers):
                if program.process.poll() is not None:
                    raise RuntimeError(f"{program.name} ended:\n{program.log.read_text(errors='replace')[-2000:]}")
            try:
                self.client.ready()
            except AdderClientError:
                return False
            count = select(func.count()).select_from(Worker).where(Worker.pid.in_([w.pid for w in self.workers]))
            return self.ask(lambda s: s.execute(count).scalar_one()) == len(self.workers)

        wait_until(alive, "API and workers to be ready", PATIENCE_SECONDS)

    def close(self) -> None:
        for program in self.everyone:
            if program.process.poll() is None:
                program.process.send_signal(signal.SIGCONT)
                program.kill()
        for child in self.children().values():
            with_patience(lambda pid=child: not alive(pid))
        self.client.close()
        self._listener.close()
        self.database.dispose()

    # jobs

    def submit(self, task: Task, *, ends: Sequence[Status] = (Status.SUCCEEDED,), **changes: Any) -> Accepted:
        """A chain job, by HTTP; whoever faults at random must leave room for many attempts."""
        return self._submit(task, task.labels(), tuple(ends), changes)

    def submit_real(self, **changes: Any) -> Accepted:
        """A real training of the library."""
        return self._submit(None, {"real": "yes"}, (Status.SUCCEEDED,), changes)

    def _submit(
        self, task: Task | None, labels: dict[str, str], ends: tuple[Status, ...], changes: dict[str, Any]
    ) -> Accepted:
        body = train_body(
            labels=labels, limits={"max_attempts": 100}, resources={"threads": 1}, checkpoint={"keep": 2}
        )  # fmt: skip
        job = Accepted(self.client.jobs.submit(merge(body, changes)).id, task, ends)
        self.accepted.append(job)
        return job

    def ask(self, question: Callable[[Session], Answer], seconds: float = PATIENCE_SECONDS) -> Answer:
        """A reading transaction, again while the database is away."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.database.read(DEFAULT) as session:
                    return question(session)
            except (OperationalError, InterfaceError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def job(self, job_id: str) -> Job:
        return self.ask(lambda session: session.get_one(Job, job_id))

    def attempt(self, job_id: str, attempt: int) -> Attempt:
        return self.ask(lambda session: session.get_one(Attempt, (job_id, attempt)))

    def unfinished(self) -> int:
        """Number of accepted jobs that are neither final nor paused."""
        rest = select(func.count()).select_from(Job).where(Job.status.not_in((*FINAL, Status.PAUSED)))
        return int(self.ask(lambda session: session.execute(rest).scalar_one()))

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Newest first."""
        query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())
        return self.ask(lambda session: list(session.execute(query).scalars()))

    def children(self) -> dict[tuple[str, int], int]:
        """Process ids by (job, attempt), of all that ever began."""
        lines = (line.split() for line in self.journal.read_text().splitlines())
        return {(line[0], int(line[1])): int(line[2]) for line in lines}

    def running(self, job_id: str | None = None) -> list[Running]:
        """Attempts whose training process has begun, on workers that run."""
        query = (
            select(Job.id, Job.attempt, Worker.pid)
            .join(Worker, Worker.id == Job.worker_id)
            .where(Job.status == Status.RUNNING)
            .order_by(Job.id)
        )
        rows = self.ask(lambda session: session.execute(query).all())
        children, workers = self.children(), {worker.pid: worker for worker in self.workers}
        return [
            Running(row.id, row.attempt, workers[row.pid], children[row.id, row.attempt])
            for row in rows
            if row.pid in workers
            and (row.id, row.attempt) in children
            and alive(children[row.id, row.attempt])
            and (job_id is None or row.id == job_id)
        ]

    def owner(self, job_id: str) -> Program:
        """The worker that owns the job."""
        query = select(Worker.pid).join(Job, Job.worker_id == Worker.id).where(Job.id == job_id)
        pid = self.ask(lambda session: session.execute(query).scalar_one())
        return next(worker for worker in self.workers if worker.pid == pid)

    def wait_running(self, job_id: str) -> Running:
        wait_until(lambda: bool(self.running(job_id)), f"{job_id} to run", PATIENCE_SECONDS)
        found = self.running(job_id)
        return found[0] if found else self.wait_running(job_id)

    def wait_status(self, job_id: str, *statuses: Status) -> None:
        wait_until(lambda: self.job(job_id).status in statuses, f"{job_id} to be {statuses}", PATIENCE_SECONDS)

    def blob(self, sha256: str) -> Path:
        """The stored file of those bytes."""
        return self.settings.artifacts_dir / sha256[:2] / sha256

    def settle(self) -> None:
        """Until all accepted jobs have ended, or the patience is over: the check then says which are lost."""
        with_patience(lambda: self.unfinished() == 0, self._patience)

    def said(self, *words: str) -> list[str]:
        """Lines of all processes' logs that hold all these words."""
        return [line for p in self.everyone for line in p.said() if all(word in line for word in words)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def with_patience(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Waits for a condition; False when the patience is over."""
    try:
        wait_until(condition, "it", seconds)
    except TimeoutError:
        return False
    return True


@contextmanager
def open_stage(folder: Path, servers: Servers, options: Options, *, fenced: bool = True) -> Iterator[Stage]:
    """A stage that is ready; all its processes end with the block, however that ends."""
    folder.mkdir()
    with ExitStack() as stack:
        (folder / "data").mkdir()
        if options.data_mb:
            stack.enter_context(small_disk(folder / "data", options.data_mb))
        stage = Stage(folder, servers, options, fenced=fenced)
        stack.enter_context(stage.cleanup)
        stack.callback(stage.close)
        for _ in range(options.workers):
            stage.add_worker()
        stage.ready()
        yield stage


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A real file system of that size on the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "adder-faults", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@functools.cache
def may_mount() -> bool:
    """Whether this machine lets us mount (it is asked of the kernel by doing it)."""
    probe = Path(f"/tmp/adder-faults-mount-{os.getpid()}")
    probe.mkdir()
    try:
        with small_disk(probe, 1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        probe.rmdir()
