"""Five hundred clients that poll and two hundred that follow streams, while fifty jobs run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adderclient import Client
from benchmarks.cpu import cpu_seconds
from benchmarks.programs import python
from benchmarks.rows import Row, filesystem
from benchmarks.service.processes import resident_mib
from benchmarks.service.samples import quantiles
from benchmarks.service.setup import TINY_CHILD, Alone, Setup, api_alone

CROWD = Path(__file__).with_name("crowd.py")
CROWDS = ((500, 0), (0, 200), (500, 200))
"""Clients that poll, clients that follow a stream."""
PERIOD = 2.0  # seconds between two looks of a polling client: the Python client's, once a job runs for a while
WORKERS, SLOTS = 2, 25
SAMPLE_SECONDS = 0.25
JOB_SECONDS = 3600  # of a running job that says one point a second, if it were not cancelled long before


def measure(setup: Setup) -> Iterator[Row]:
    child = f"{sys.executable} -I -S {TINY_CHILD}"
    for database in setup.databases:
        most = str(max(streams for _, streams in CROWDS))
        settings = {"child_command": child, "max_streams": most, "max_client_streams": most}
        settings["max_client_connections"] = "1000"  # all clients have one address
        with api_alone(setup, database, **settings) as service, running(service, JOB_SECONDS) as busy:
            for pollers, streams in CROWDS:
                yield from _crowd(setup, database, service, busy.jobs, pollers, streams)


@dataclass(frozen=True)
class Busy:
    """Jobs that run."""

    jobs: list[str]
    workers: list[int]
    """Process ids."""


@contextmanager
def running(service: Alone, points: int) -> Iterator[Busy]:
    """Jobs that run, on as many slots; each would say so many points in an hour."""
    labels = {"points": str(points), "seconds": str(JOB_SECONDS)}
    spec = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "labels": labels}
    with service.workers(WORKERS, worker_slots=str(SLOTS)) as workers, Client(service.url) as client:
        jobs = [client.jobs.submit(spec).id for _ in range(WORKERS * SLOTS)]
        deadline = time.monotonic() + 60
        while any(client.jobs.get(job).status != "running" for job in jobs):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all of {len(jobs)} jobs run after 60 s")
            time.sleep(0.2)
        yield Busy(jobs, [worker.pid for worker in workers])
        for job in jobs:
            client.jobs.cancel(job)
        for job in jobs:
            client.jobs.wait(job, timeout=60, check=False)


def _crowd(setup: Setup, database: str, service: Alone, jobs: list[str], pollers: int, streams: int) -> Iterator[Row]:
    load = os.getloadavg()
    seconds = setup.amounts.seconds
    command = python(
        CROWD, service.url, "--pollers", str(pollers), "--streams", str(streams), "--seconds", str(seconds),
        "--period", str(PERIOD),
    )  # fmt: skip
    api = service.parts["api"]
    memory = [resident_mib(api)]
    cpu, began = cpu_seconds(api), time.monotonic()
    with _watched(api, memory):
        done = subprocess.run(
            command, input=json.dumps({"jobs": jobs}), stdout=subprocess.PIPE, text=True, check=True,
            timeout=seconds + 120,
        )  # fmt: skip
    cores = (cpu_seconds(api) - cpu) / (time.monotonic() - began)
    seen: dict[str, Any] = json.loads(done.stdout)
    about = {
        "database": database, "quick": setup.quick, "pollers": pollers, "streams": streams, "period_s": PERIOD,
        "running_jobs": len(jobs), "filesystem": filesystem(setup.scratch), "errors": seen["errors"],
        "broken_streams": seen["broken_streams"], "api_cores_used": round(cores, 3),
        "client_cores_used": round(seen["client_cpu"] / seen["elapsed"], 3), "points_streamed": seen["points"],
    }  # fmt: skip
    name = f"{database}, {pollers} polling, {streams} streams"
    answers = len(seen["job"]) + len(seen["metrics"])
    if answers:
        yield Row("clients: answers", name, "1/s", [answers / seen["elapsed"]], load, about)
        yield Row("clients: GET /v1/jobs/{id}", name, "ms", _ms(seen["job"]), load, about)
        yield Row("clients: GET metrics", name, "ms", _ms(seen["metrics"]), load, about)
    if streams:
        yield Row("clients: from point to stream", name, "ms", _ms(seen["delays"]), load, about)
    broken = sum(seen["errors"].values()) + seen["broken_streams"] + streams - seen["streams"]
    yield Row("clients: errors", name, "", [broken], load, about)
    yield Row("clients: memory of the API, before and most", name, "MiB", [memory[0], max(memory)], load, about)


def _ms(seconds: list[float]) -> list[float]:
    return quantiles([1000 * one for one in seconds])


@contextmanager
def _watched(pid: int, memory: list[float]) -> Iterator[None]:
    """Samples the process's resident memory meanwhile."""
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            memory.append(resident_mib(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
