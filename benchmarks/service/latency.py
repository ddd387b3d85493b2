"""How long a job waits on an idle service: from its submission until a worker has it."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime

from adderclient import Client, Job
from benchmarks.rows import Row, filesystem
from benchmarks.service.setup import TINY_CHILD, Setup, adder_up

JOBS = 50
QUICK_JOBS = 5
WARM_UP = 2  # jobs that are not counted: connections open, modules load
POLL = 0.005  # seconds between two looks of the client
PAUSE = (0.3, 1.3)  # seconds between two jobs, at random: no phase of the service's own rounds is favoured
SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1}


def measure(setup: Setup) -> Iterator[Row]:
    """Jobs one after the other, each submitted some time after the one before has ended."""
    count = QUICK_JOBS if setup.quick else JOBS
    child = f"{sys.executable} -I -S {TINY_CHILD}"  # the job's start does not depend on what its process then does
    for database in setup.databases:
        with adder_up(setup, database, child_command=child) as service, Client(service.url) as client:
            load = os.getloadavg()
            pauses = random.Random(0)
            found = []
            for _ in range(WARM_UP + count):
                time.sleep(pauses.uniform(*PAUSE))
                found.append(_one(client))
        settings = {
            "database": database, "quick": setup.quick, "child": "stand-in", "client_poll_ms": POLL * 1000,
            "filesystem": filesystem(setup.scratch),
        }  # fmt: skip
        stored, seen = zip(*found[WARM_UP:], strict=True)
        yield Row("submit-to-start", f"{database}, queued_at to started_at", "ms", stored, load, settings)
        yield Row("submit-to-start", f"{database}, submit to running seen", "ms", seen, load, settings)


def _one(client: Client) -> tuple[float, float]:
    """ms between the job's own times (the database's clock), and ms until the client saw it running."""
    began = time.perf_counter()
    job = client.jobs.submit(SPEC)
    while job.status == "queued":
        time.sleep(POLL)
        job = client.jobs.get(job.id)
    seen = time.perf_counter() - began
    if job.status != "running":
        raise RuntimeError(f"the client looked too late: {job.id} is {job.status} already; {job.error}")
    job = client.jobs.wait(job.id, timeout=60)
    return _ms(job, "started_at") - _ms(job, "queued_at"), seen * 1000


def _ms(job: Job, name: str) -> float:
    moment: datetime | None = getattr(job, name)
    if moment is None:
        raise RuntimeError(f"{job.id} has no {name}")
    return moment.timestamp() * 1000
