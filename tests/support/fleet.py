"""Real worker processes against a real broker and database, and what must hold of the jobs they ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.programs import die_with_parent
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import history, lifecycle
from jobs.settings import Settings
from jobs.spec import Spec
from jobs.states import FINAL, Status
from jobs.tables import Job, Worker
from jobs.wakeups import celery_app, send
from tests.support.servers import HANGS_SECONDS, wait_until

TINY_CHILD = (sys.executable, str(Path(__file__).with_name("tiny_child.py")))


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """The settings as a worker process reads them."""
    variables = {
        f"ADDER_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in settings.model_dump().items()
        if value not in ("", None, ())
    }
    variables["ADDER_CHILD_COMMAND"] = " ".join(settings.child_command)
    variables.setdefault("ADDER_CHILD_VARIABLES", "TINY_*,FAULTS_*")  # what the children of tests read
    return os.environ | variables | changes


class Fleet:
    def __init__(self, settings: Settings, module: str = "worker", **env: str) -> None:
        self.settings = settings
        self.database = Database(settings.resolved_database_url)
        self.journal = settings.data_dir / "journal"
        self.app = celery_app(settings)
        self._module = module
        self._env = environment(settings, TINY_JOURNAL=str(self.journal), **env)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, count: int = 1) -> None:
        for _ in range(count):
            log = (self.settings.data_dir / f"worker-{len(self.workers)}.log").open("wb")
            with log:
                self.workers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", self._module],
                        env=self._env,
                        stdout=log,
                        stderr=log,
                        preexec_fn=die_with_parent(signal.SIGKILL),
                    )
                )

    def submit(self, specs: Sequence[Spec], *, copies: int = 1) -> list[str]:
        """Submits jobs and sends each wake-up `copies` times (0: all messages are lost)."""
        ids = []
        with self.database.write(DEFAULT) as session:
            ids = [lifecycle.submit(session, spec).job.id for spec in specs]
        for job_id in ids:
            for _ in range(copies):
                send(self.app, self.settings, job_id)
        return ids

    def jobs(self, ids: Sequence[str]) -> list[Job]:
        with self.database.read(DEFAULT) as session:
            return list(session.execute(select(Job).where(Job.id.in_(ids)).order_by(Job.id)).scalars())

    def job(self, job_id: str) -> Job:
        return self.jobs([job_id])[0]

    def wait_status(self, job_id: str, *statuses: Status, seconds: float = HANGS_SECONDS) -> Job:
        def reached() -> bool:
            return self.job(job_id).status in statuses

        wait_until(reached, f"{job_id} to be {' or '.join(statuses)}", seconds)
        return self.job(job_id)

    def wait_final(self, ids: Sequence[str], seconds: float = HANGS_SECONDS) -> list[Job]:
        unfinished = select(func.count()).select_from(Job).where(Job.id.in_(ids), Job.status.not_in(FINAL))

        def ended() -> bool:
            with self.database.read(DEFAULT) as session:
                return session.execute(unfinished).scalar_one() == 0

        wait_until(ended, f"{len(ids)} jobs to end", seconds, every=0.2)
        return self.jobs(ids)

    def journaled(self, what: str) -> list[tuple[str, int]]:
        """`(job id, attempt)` of every child that wrote `what`, in order."""
        if not self.journal.exists():
            return []
        lines = (line.split() for line in self.journal.read_text().splitlines())
        return [(line[2], int(line[3])) for line in lines if line[1] == what]

    def worker_of(self, job_id: str) -> subprocess.Popen[bytes]:
        """The process that owns a running job."""
        with self.database.read(DEFAULT) as session:
            job = session.get_one(Job, job_id)
            pid = session.get_one(Worker, job.worker_id).pid
        return next(worker for worker in self.workers if worker.pid == pid)

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.settings.data_dir.glob("worker-*.log")))

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        self.app.close()
        self.database.dispose()


@contextmanager
def fleet(settings: Settings, workers: int = 1, *, module: str = "worker", **env: str) -> Iterator[Fleet]:
    running = Fleet(settings, module, **env)
    try:
        running.start(workers)
        yield running
    except BaseException:
        sys.stderr.write(running.logs()[-20_000:])
        raise
    finally:
        running.close()


def violations(database: Database, job_id: str, points: int) -> list[str]:
    """What is wrong with the record of a job that should have succeeded once, whoever ran it."""
    with database.read(DEFAULT) as session:
        job = lifecycle.get(session, job_id)
        events = history.events(session, job_id)
        steps = [m.step for m in history.metrics(session, job_id, names=["train/loss"])]
        last_metric = max((m.seq for m in history.metrics(session, job_id)), default=0)
        artifacts = {a.name for a in history.artifacts(session, job_id)}
    ends = [e for e in events if e.type == "status" and _to(e.data) == Status.SUCCEEDED]
    wrong = []
    if job.status != Status.SUCCEEDED or len(ends) != 1:
        wrong.append(f"{job_id} is {job.status} with {len(ends)} successes")
    elif events[-1].seq != ends[0].seq or last_metric > ends[0].seq:
        wrong.append(f"{job_id} was written to after its end")
    if steps != list(range(1, points + 1)):
        wrong.append(f"{job_id} has the steps {steps}")
    if (job.result or {}).get("attempt", job.attempt) != job.attempt:
        wrong.append(f"{job_id} holds the result of attempt {job.result} but attempt {job.attempt} owned it")
    if "log.txt" not in artifacts:
        wrong.append(f"{job_id} lacks its log among {artifacts}")
    if len({e.seq for e in events}) != len(events):
        wrong.append(f"{job_id} has one seq twice")
    return wrong


def _to(data: dict[str, Any] | None) -> str | None:
    return (data or {}).get("to")
