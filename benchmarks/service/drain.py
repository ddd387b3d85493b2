"""Thousands of queued jobs through eight workers: how fast they get in and through, and that each ran exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from benchmarks.cpu import cpu_seconds
from benchmarks.programs import python
from benchmarks.rows import Row, filesystem
from benchmarks.service.processes import resident_mib
from benchmarks.service.setup import LOAD, TINY_CHILD, Alone, Setup, api_alone
from benchmarks.service.storage import database_bytes
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.states import FINAL, Status
from jobs.tables import Artifact, Event, Job

WORKERS = 8
CONNECTIONS = 8
PARTS = 10
"""The run is cut into so many parts of equally many jobs: their rates show whether a long queue slows it down."""
JOB_SECONDS = 60.0
"""A run has failed once no job has ended for so long."""
TINY_SPEC: dict[str, Any] = {
    "kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1,
    "labels": {"seconds": "0", "points": "1"},
}  # fmt: skip
REAL_SPEC: dict[str, Any] = {
    "kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1,
    "resources": {"device": "cpu", "threads": 1},
}  # fmt: skip


def measure_tiny(setup: Setup) -> Iterator[Row]:
    """The training process is a stand-in: what is left is the service, and starting a process."""
    child = f"{sys.executable} -I -S {TINY_CHILD}"
    for database in setup.databases:
        yield from _through(setup, database, setup.amounts.jobs, TINY_SPEC, "stand-in", child_command=child)


def measure_real(setup: Setup) -> Iterator[Row]:
    """Trainings of one epoch; mostly the start of torch."""
    for database in setup.databases:
        yield from _through(setup, database, setup.amounts.real_jobs, REAL_SPEC, "real")


@dataclass(frozen=True)
class Outcome:
    """What one run took."""

    began: float
    submitted: list[float]
    """Moments of the answers, in order."""
    started: float
    ended: list[float]
    """Moments at which jobs ended, in order."""
    cpu: dict[str, float]
    """Seconds a job, by part."""
    api_mib: list[float]
    """At the start, once all is submitted, at the end."""
    worker_mib: list[float]
    broker_mib: list[float]
    """At the start, and with a wake-up for each job."""
    growth: int
    """Bytes of the database."""

    @property
    def rate(self) -> float:
        count = len(self.ended)
        return count / (self.submitted[-1] - self.began + self.ended[-1] - self.started)


def _through(
    setup: Setup, database: str, count: int, spec: dict[str, Any], child: str, **settings: str
) -> Iterator[Row]:
    load = os.getloadavg()
    with api_alone(setup, database, max_queued_jobs=str(count + 1), **settings) as service:
        found = _run(service, count, spec)
    about = {
        "database": database, "quick": setup.quick, "jobs": count, "workers": WORKERS, "child": child,
        "connections": CONNECTIONS, "filesystem": filesystem(setup.scratch),
    }  # fmt: skip
    name = f"{database}, {count} jobs, child {child}"

    def row(benchmark: str, unit: str, values: list[float], variant: str = name) -> Row:
        return Row(benchmark, variant, unit, values, load, about)

    yield row("queue: submitted by REST, each tenth", "1/s", _rates(found.began, found.submitted))
    yield row("queue: ended, 8 workers, each tenth", "1/s", _rates(found.started, found.ended))
    yield row("queue: submitting and running, one after the other", "1/s", [found.rate])
    for part, seconds in found.cpu.items():
        yield row("queue: CPU a job", "ms", [1000 * seconds], f"{name}: {part}")
    yield row("queue: database", "KiB/job", [found.growth / 1024 / count])
    yield row("queue: memory of a worker at the end", "MiB", found.worker_mib)
    yield row("queue: memory of the API: at the start, all queued, all ended", "MiB", found.api_mib)
    yield row("queue: memory of the broker: at the start, all queued", "MiB", found.broker_mib)


def _run(service: Alone, count: int, spec: dict[str, Any]) -> Outcome:
    """Submits all, then starts the workers, and sees all end."""
    api, broker, store = service.parts["api"], service.parts["broker"], Database(service.database_url)
    size, api_mib, broker_mib, cpu = (
        database_bytes(store),
        [resident_mib(api)],
        [resident_mib(broker)],
        cpu_seconds(api),
    )
    began = time.time()
    submitted = _submit(service.url, spec, count)
    used = {"api, submitting": (cpu_seconds(api) - cpu) / count}
    api_mib.append(resident_mib(api))
    broker_mib.append(resident_mib(broker))
    with service.workers(WORKERS) as workers:
        pids = [process.pid for process in workers]
        cpu, early = sum(map(cpu_seconds, pids)), _final(store)
        _wait_final(store, count)
        if early < count:
            used["workers"] = (sum(map(cpu_seconds, pids)) - cpu) / (count - early)
        worker_mib = [resident_mib(pid) for pid in pids]
    api_mib.append(resident_mib(api))
    size = database_bytes(store) - size
    _require_once(store, count)
    started, ended = _times(store)
    store.dispose()
    return Outcome(began, submitted, started, ended, used, api_mib, worker_mib, broker_mib, size)


def _submit(url: str, spec: dict[str, Any], count: int) -> list[float]:
    """Moments at which the answers came, in order."""
    command = python(
        LOAD, f"{url}/v1/jobs", "--method", "POST", "--expect", "201", "--body", json.dumps(spec),
        "--connections", str(CONNECTIONS), "--requests", str(count),
    )  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=3600)
    report: dict[str, Any] = json.loads(done.stdout)
    return sorted(report["ends"])


def _rates(began: float, ends: Sequence[float]) -> list[float]:
    """Per second, of each of `PARTS` parts (fewer of fewer ends) with nearly equally many ends."""
    parts = min(PARTS, len(ends))
    borders = [len(ends) * part // parts for part in range(parts + 1)]
    moments = [began] + [ends[border - 1] for border in borders[1:]]
    return [(borders[i + 1] - borders[i]) / (moments[i + 1] - moments[i]) for i in range(parts)]


def _final(store: Database) -> int:
    with store.read(DEFAULT) as session:
        return session.execute(select(func.count()).select_from(Job).where(Job.status.in_(FINAL))).scalar_one()


def _wait_final(store: Database, count: int) -> None:
    seen, moved = -1, time.monotonic()
    while seen < count:
        time.sleep(0.5)
        now = _final(store)
        if now != seen:
            seen, moved = now, time.monotonic()
        elif time.monotonic() - moved > JOB_SECONDS:
            raise RuntimeError(f"only {seen} of {count} jobs ended, and none for {JOB_SECONDS:g} s")


def _times(store: Database) -> tuple[float, list[float]]:
    """The first start and all ends, in seconds of the database's clock."""
    with store.read(DEFAULT) as session:
        started = session.execute(select(func.min(Job.started_at))).scalar_one() or 0
        ended = session.execute(select(Job.finished_at).order_by(Job.finished_at)).scalars()
        return started / 1000, [(moment or 0) / 1000 for moment in ended]


def _require_once(database: Database, count: int) -> None:
    """Each job succeeded, in one attempt, said so once, and left its log; real ones all trained the same."""
    ended = select(func.count()).select_from(Event).where(Event.message == "Succeeded.")
    logs = select(func.count()).select_from(Artifact).where(Artifact.name == "log.txt")
    with database.read(DEFAULT) as session:
        succeeded, attempts = session.execute(
            select(func.count(), func.max(Job.attempt)).where(Job.status == Status.SUCCEEDED)
        ).one()
        found = {
            "succeeded": succeeded, "successes": session.execute(ended).scalar_one(),
            "logs": session.execute(logs).scalar_one(), "attempts of a job": attempts,
        }  # fmt: skip
        results = {json.dumps(result, sort_keys=True) for result in session.execute(select(Job.result)).scalars()}
    if found != {"succeeded": count, "successes": count, "logs": count, "attempts of a job": 1}:
        raise RuntimeError(f"of {count} jobs, each to run once: {found}")
    if len(results) != 1:
        raise RuntimeError(f"{count} equal jobs ended with {len(results)} different results")
