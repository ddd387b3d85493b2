"""Thousands of queued jobs through some workers: how fast they get in and through, and that each ran exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select

from benchmarks.cpu import cpu_seconds, machine_seconds, tree_seconds
from benchmarks.programs import python
from benchmarks.rows import Row, filesystem
from benchmarks.service.drained import require_once, require_served
from benchmarks.service.processes import resident_mib
from benchmarks.service.samples import quantiles
from benchmarks.service.setup import LOAD, TINY_CHILD, Alone, Deployment, Setup, api_alone
from benchmarks.service.storage import database_bytes, open_connections
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.states import FINAL
from jobs.tables import Job

CONNECTIONS = 8
PARTS = 10
"""The run is cut into so many parts of equally many jobs: their rates show whether a long queue slows it down."""
JOB_SECONDS = 300.0
"""A run has failed once no job has ended for so long. Eight workers that load torch at once, on a machine that has much
else to do, take minutes until the first one does."""
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
    answers: list[float]
    """Seconds that each submission waited for its answer."""
    started: float
    ended: list[float]
    """Moments at which jobs ended, in order."""
    cpu: dict[str, float]
    """Seconds a job, by part."""
    others: dict[str, float]
    """Cores that the rest of the machine took, while jobs were submitted and while they ran."""
    api_mib: list[float]
    """At the start, once all is submitted, at the end; all APIs together."""
    worker_mib: list[float]
    broker_mib: list[float]
    """At the start, and with a wake-up for each job."""
    connections: list[float]
    """Of PostgreSQL while the jobs ran, sampled; empty for SQLite."""
    growth: int
    """Bytes of the database."""

    @property
    def rate(self) -> float:
        count = len(self.ended)
        return count / (self.submitted[-1] - self.began + self.ended[-1] - self.started)


def _through(
    setup: Setup, database: str, count: int, spec: dict[str, Any], child: str, **settings: str
) -> Iterator[Row]:
    load, deployment = os.getloadavg(), setup.deployment
    with api_alone(setup, database, deployment, max_queued_jobs=str(count + 1), **settings) as service:
        found = _run(setup, service, count, spec)
    about = {
        "database": database, "quick": setup.quick, "jobs": count, "child": child, "connections": CONNECTIONS,
        "filesystem": filesystem(setup.scratch), **asdict(deployment), "load_after": os.getloadavg(),
    }  # fmt: skip
    name = f"{database}{_named(deployment)}, {count} jobs, child {child}"

    def row(benchmark: str, unit: str, values: list[float], variant: str = name) -> Row:
        return Row(benchmark, variant, unit, values, load, about)

    yield row("queue: submitted by REST, each tenth", "1/s", _rates(found.began, found.submitted))
    yield row("queue: answer to a submission", "ms", quantiles([1000 * one for one in found.answers]))
    yield row(f"queue: ended, {deployment.workers} workers, each tenth", "1/s", _rates(found.started, found.ended))
    yield row("queue: submitting and running, one after the other", "1/s", [found.rate])
    for part, seconds in found.cpu.items():
        yield row("queue: CPU a job", "ms", [1000 * seconds], f"{name}: {part}")
    for phase, cores in found.others.items():
        yield row("queue: cores that other work took", "", [cores], f"{name}: {phase}")
    yield row("queue: database", "KiB/job", [found.growth / 1024 / count])
    yield row("queue: memory of a worker at the end", "MiB", found.worker_mib)
    yield row("queue: memory of the API: at the start, all queued, all ended", "MiB", found.api_mib)
    yield row("queue: memory of the broker: at the start, all queued", "MiB", found.broker_mib)
    if found.connections:
        yield row("queue: connections of PostgreSQL while the jobs ran", "", quantiles(found.connections))


def _named(deployment: Deployment) -> str:
    """What differs from the usual deployment, to be part of a row's name."""
    usual, store = Deployment(), f", {deployment.store}"
    if deployment == usual:
        return ""
    return f", API ×{deployment.apis}, workers ×{deployment.workers}{store if deployment.store != usual.store else ''}"


def _run(setup: Setup, service: Alone, count: int, spec: dict[str, Any]) -> Outcome:
    """Submits all, then starts the workers, and sees all end."""
    store, broker = Database(service.database_url), service.parts["broker"]
    parts = dict(service.parts)
    if not store.sqlite and setup.postgres is not None:
        parts["postgresql"] = setup.postgres.pid
    apis = [pid for name, pid in parts.items() if _role(name) == "api"]
    size, api_mib, broker_mib = database_bytes(store), [_mib(apis)], [resident_mib(broker)]
    reading = Reading.of(parts)
    began = time.time()
    submitted, answers = _submit(service.urls, spec, count)
    used, others = reading.used(parts)
    cpu = {f"{part}, submitting": seconds / count for part, seconds in used.items()}
    api_mib.append(_mib(apis))
    broker_mib.append(resident_mib(broker))
    with service.workers(setup.deployment.workers) as workers:
        pids = [process.pid for process in workers]
        running = parts | {f"workers {pid}": pid for pid in pids}
        reading, early = Reading.of(running), _final(store)
        connections = _wait_final(store, count)
        used, others_running = reading.used(running)
        if early < count:
            cpu |= {f"{part}, running": seconds / (count - early) for part, seconds in used.items()}
        worker_mib = [resident_mib(pid) for pid in pids]
    api_mib.append(_mib(apis))
    size = database_bytes(store) - size
    require_once(store, count)
    require_served(service, store)
    started, ended = _times(store)
    store.dispose()
    return Outcome(
        began, submitted, answers, started, ended, cpu, {"submitting": others, "running": others_running}, api_mib,
        worker_mib, broker_mib, connections, size,
    )  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """CPU seconds at a moment: of each part, of everything this benchmark started, of the whole machine."""

    moment: float
    parts: dict[str, float]
    ours: float
    machine: float

    @classmethod
    def of(cls, parts: Mapping[str, int]) -> Reading:
        seconds = {name: tree_seconds(pid) if name == "postgresql" else cpu_seconds(pid) for name, pid in parts.items()}
        return cls(time.monotonic(), seconds, tree_seconds(os.getpid()), machine_seconds())

    def used(self, parts: Mapping[str, int]) -> tuple[dict[str, float], float]:
        """Since then: seconds by role, and the cores that went to programs which are not ours."""
        now = Reading.of(parts)
        found: dict[str, float] = defaultdict(float)
        for name, seconds in now.parts.items():
            found[_role(name)] += seconds - self.parts[name]
        others = (now.machine - self.machine) - (now.ours - self.ours)
        return dict(found), max(0.0, others) / (now.moment - self.moment)


def _role(part: str) -> str:
    """`api` of `api 2`."""
    return part.split()[0]


def _mib(pids: Sequence[int]) -> float:
    return sum(map(resident_mib, pids))


def _submit(urls: Sequence[str], spec: dict[str, Any], count: int) -> tuple[list[float], list[float]]:
    """Moments at which the answers came, in order, and seconds that each took."""
    command = python(
        LOAD, *(f"{url}/v1/jobs" for url in urls), "--method", "POST", "--expect", "201", "--body", json.dumps(spec),
        "--connections", str(CONNECTIONS), "--requests", str(count),
    )  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=3600)
    report: dict[str, Any] = json.loads(done.stdout)
    return sorted(report["ends"]), report["seconds"]


def _rates(began: float, ends: Sequence[float]) -> list[float]:
    """Per second, of each of `PARTS` parts (fewer of fewer ends) with nearly equally many ends."""
    parts = min(PARTS, len(ends))
    borders = [len(ends) * part // parts for part in range(parts + 1)]
    moments = [began] + [ends[border - 1] for border in borders[1:]]
    return [(borders[i + 1] - borders[i]) / (moments[i + 1] - moments[i]) for i in range(parts)]


def _final(store: Database) -> int:
    with store.read(DEFAULT) as session:
        return session.execute(select(func.count()).select_from(Job).where(Job.status.in_(FINAL))).scalar_one()


def _wait_final(store: Database, count: int) -> list[float]:
    """Returns the number of PostgreSQL's connections at each look."""
    seen, moved, connections = -1, time.monotonic(), []
    while seen < count:
        time.sleep(0.5)
        now = _final(store)
        if not store.sqlite:
            connections.append(float(open_connections(store)))
        if now != seen:
            seen, moved = now, time.monotonic()
        elif time.monotonic() - moved > JOB_SECONDS:
            raise RuntimeError(f"only {seen} of {count} jobs ended, and none for {JOB_SECONDS:g} s")
    return connections


def _times(store: Database) -> tuple[float, list[float]]:
    """The first start and all ends, in seconds of the database's clock."""
    with store.read(DEFAULT) as session:
        started = session.execute(select(func.min(Job.started_at))).scalar_one() or 0
        ended = session.execute(select(Job.finished_at).order_by(Job.finished_at)).scalars()
        return started / 1000, [(moment or 0) / 1000 for moment in ended]
