"""Requests per second of the API alone: reading a job, and submitting one, with a load generator beside it."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adderclient import Client
from benchmarks.programs import python
from benchmarks.rows import Row, filesystem
from benchmarks.service.setup import LOAD, Setup, api_alone

ROUNDS = 5
CONNECTIONS = 8
WARM_UP = 40  # requests; POSTs among them count into the queue
READ_SECONDS = 5.0
SUBMISSIONS = 1000
SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


@dataclass(frozen=True)
class Amount:
    rounds: int
    read_seconds: float
    submissions: int


FULL = Amount(ROUNDS, READ_SECONDS, SUBMISSIONS)
QUICK = Amount(2, 1.0, 100)


@dataclass(frozen=True)
class Sample:
    """One round's outcome for one kind of request."""

    rate: float  # requests per second
    p99: float  # ms
    client_share: float  # of one core


def measure(setup: Setup) -> Iterator[Row]:
    """Rounds over all databases in turn, so that a disturbance meets them alike; a fresh server for every one."""
    amount = QUICK if setup.quick else FULL
    load = os.getloadavg()
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for _ in range(amount.rounds):
        for database in setup.databases:
            with api_alone(setup, database) as service:
                for request, sample in _round(service.url, amount):
                    found[database, request].append(sample)
    for (database, request), samples in found.items():
        settings = {
            "database": database, "quick": setup.quick, "connections": CONNECTIONS, "workers": 0,
            "client": "same machine, same cores", "filesystem": filesystem(setup.scratch),
            "client_cores_used": round(statistics.median(sample.client_share for sample in samples), 3),
        }  # fmt: skip
        name = f"{database}, {request}"
        yield Row("requests-per-second", name, "1/s", [sample.rate for sample in samples], load, settings)
        yield Row("request-p99", name, "ms", [sample.p99 for sample in samples], load, settings)


def _round(url: str, amount: Amount) -> Iterator[tuple[str, Sample]]:
    """On an empty database without workers: read a job that has ended, fill the queue, read the job at its end."""
    jobs = f"{url}/v1/jobs"
    with Client(url) as client:
        ended = client.jobs.cancel(client.jobs.submit(SPEC).id)
        yield "GET /v1/jobs/{id}, ended", _drive(f"{jobs}/{ended.id}", "--seconds", str(amount.read_seconds))
        body = ("--method", "POST", "--expect", "201", "--body", json.dumps(SPEC))
        yield f"POST /v1/jobs, {amount.submissions} of them", _drive(jobs, *body, "--requests", str(amount.submissions))
        waiting = client.jobs.submit(SPEC)
        # Its place in the queue is part of the answer, and has to be counted.
        reading = _drive(f"{jobs}/{waiting.id}", "--seconds", str(amount.read_seconds))
        yield f"GET /v1/jobs/{{id}}, queued behind {amount.submissions + WARM_UP}", reading


def _drive(url: str, *arguments: str) -> Sample:
    shared = ("--connections", str(CONNECTIONS), "--warm-up", str(WARM_UP))
    command = python(LOAD, url, *shared, *arguments)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600)
    report: dict[str, Any] = json.loads(done.stdout)
    times = sorted(report["seconds"])
    p99 = times[math.ceil(0.99 * len(times)) - 1]
    return Sample(len(times) / report["elapsed"], p99 * 1000, report["client_cpu"] / report["elapsed"])
