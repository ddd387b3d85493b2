"""Metrics of a thousand running jobs: points a second into the database, and what it costs to read a million back."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select, text

from benchmarks.programs import python
from benchmarks.rows import Row, filesystem
from benchmarks.service.processes import resident_mib
from benchmarks.service.samples import quantiles
from benchmarks.service.setup import Alone, Setup, api_alone
from benchmarks.service.storage import database_bytes, logged_bytes
from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import attempts, lifecycle, queue
from jobs.repository.queue import Offer
from jobs.spec import SPEC
from jobs.tables import Metric

FEEDER = Path(__file__).with_name("feeder.py")
JOBS = 1_000
QUICK_JOBS = 40
WORKERS = 4  # processes
THREADS = 4  # of each: batches that are under way at a time
BATCHES = (10, 100)
"""Points of a transaction: what a slow and a fast training say within `ADDER_WRITE_SECONDS`."""
FILL = 10_000  # points of a transaction, for the long job
RARE = 1_000  # one point in so many is of the rare metric
READS = 30
QUICK_READS = 5
CSV_READS = 3
DOCUMENT = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
LEASE_MS = 3_600_000


def measure(setup: Setup) -> Iterator[Row]:
    for database in setup.databases:
        for batch in BATCHES:
            yield from _writing(setup, database, batch)
        yield from _reading(setup, database)


def _writing(setup: Setup, database: str, batch: int) -> Iterator[Row]:
    """Closed loop: each thread writes its next batch once the one before is committed."""
    load = os.getloadavg()
    jobs = QUICK_JOBS if setup.quick else JOBS
    with api_alone(setup, database, lease_seconds=str(LEASE_MS // 1000)) as service:
        store = Database(service.database_url)
        _fill_queue(store, jobs)
        before = database_bytes(store), logged_bytes(store)
        reports = _feed(service, jobs, batch, setup.amounts.seconds)
        with store.read(DEFAULT) as session:
            stored = session.execute(select(func.count()).select_from(Metric)).scalar_one()
        grown, logged = database_bytes(store) - before[0], logged_bytes(store) - before[1]
        store.dispose()
    times = [1000 * seconds for report in reports for seconds in report["seconds"]]
    if stored != len(times) * batch:
        raise RuntimeError(f"{len(times) * batch} points were written and {stored} are there")
    elapsed = max(report["elapsed"] for report in reports)
    about = {
        "database": database, "quick": setup.quick, "running_jobs": jobs, "points_a_batch": batch,
        "simulated_workers": WORKERS, "threads_each": THREADS, "filesystem": filesystem(setup.scratch),
        "batches": len(times), "workers_cores_used": round(sum(report["cpu"] for report in reports) / elapsed, 3),
    }  # fmt: skip
    name = f"{database}, {jobs} running, batches of {batch}"
    yield Row("points: written", name, "1/s", [stored / elapsed], load, about)
    yield Row("points: transactions", name, "1/s", [len(times) / elapsed], load, about)
    yield Row("points: time of a batch", name, "ms", quantiles(times), load, about)
    yield Row("points: database growth", name, "bytes/point", [grown / stored], load, about)
    if logged:
        yield Row("points: write-ahead log", name, "bytes/point", [logged / stored], load, about)


def _fill_queue(store: Database, count: int) -> None:
    spec = SPEC.validate_python(DOCUMENT)
    for _ in range(count):
        with store.write(DEFAULT) as session:
            lifecycle.submit(session, spec)


def _feed(service: Alone, jobs: int, batch: int, seconds: float) -> list[dict[str, Any]]:
    """Starts the simulated workers, lets them go at once when all have their jobs, and collects their reports."""
    command = python(
        FEEDER, "--jobs", str(jobs // WORKERS), "--batch", str(batch), "--threads", str(THREADS), "--seconds",
        str(seconds),
    )  # fmt: skip
    environment = {**service.environment, "PYTHONPATH": str(FEEDER.parents[2])}
    with ExitStack() as stack:
        feeders = []
        for _ in range(WORKERS):
            feeder = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(feeder.kill)
            feeders.append(feeder)
        for feeder in feeders:
            assert feeder.stdout is not None
            if feeder.stdout.readline().strip() != "ready":
                raise RuntimeError("a simulated worker did not get its jobs; see above")
        reports = []
        for feeder in feeders:
            assert feeder.stdin is not None
            feeder.stdin.write("go\n")
            feeder.stdin.flush()
        for feeder in feeders:
            out, _ = feeder.communicate(timeout=seconds + 120)
            reports.append(json.loads(out))
    if errors := [error for report in reports for error in report["errors"]]:
        raise RuntimeError(f"simulated workers failed: {errors}")
    return reports


def _reading(setup: Setup, database: str) -> Iterator[Row]:
    load = os.getloadavg()
    count = setup.amounts.points
    with api_alone(setup, database) as service:
        store = Database(service.database_url)
        job_id = _long_job(store, count)
        if not store.sqlite:
            with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE metrics"))  # what autovacuum does within a minute
        size = database_bytes(store)
        store.dispose()
        before = resident_mib(service.parts["api"])
        path, deep = f"/v1/jobs/{job_id}/metrics", count * 9 // 10
        pages = {
            "first page": f"{path}?limit=1000",
            "page behind 90 %": f"{path}?limit=1000&after_seq={deep}",
            "first page of the rare metric": f"{path}?limit=1000&name=val/accuracy",
            "page behind 90 % of the rare metric": f"{path}?limit=1000&name=val/accuracy&after_seq={deep}",
            "a metric that does not exist": f"{path}?limit=1000&name=none",
            "first page of 10000": f"{path}?limit=10000",
        }
        reads = QUICK_READS if setup.quick else READS
        about = {
            "database": database, "quick": setup.quick, "points": count, "rare_one_in": RARE,
            "filesystem": filesystem(setup.scratch), "database_mib": round(size / 2**20, 1),
        }  # fmt: skip
        address = urlsplit(service.url)
        connection_ = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=600)
        for page, target in pages.items():
            times = [get_timed(connection_, target)[0] for _ in range(reads + 1)][1:]
            yield Row(f"metrics of a job with {count} points", f"{database}, {page}", "ms", times, load, about)
        whole = [get_timed(connection_, path, "text/csv") for _ in range(CSV_READS)]
        connection_.close()
        grown = resident_mib(service.parts["api"]) - before
    name = f"metrics of a job with {count} points"
    about |= {"csv_bytes": whole[0][1]}
    yield Row(name, f"{database}, all as CSV", "s", [ms / 1000 for ms, _ in whole], load, about)
    yield Row(name, f"{database}, growth of the API's memory by all that", "MiB", [grown], load, about)


def _long_job(store: Database, count: int) -> str:
    """A running job with that many points, written by the repository's own functions."""
    _fill_queue(store, 1)
    with store.write(SERVICE) as session:
        claim = queue.claim(session, Offer("bench"), LEASE_MS)
    assert claim is not None
    for first in range(0, count, FILL):
        points = [_point(number) for number in range(first, min(first + FILL, count))]
        with store.write(DEFAULT) as session:
            attempts.add_metrics(session, attempts.lock(session, claim, LEASE_MS), points)
    return claim.job_id


def _point(number: int) -> dict[str, Any]:
    name = "val/accuracy" if number % RARE == 0 else f"train/{number % 10}"
    return {
        "name": name,
        "step": number,
        "epoch": number // 1000,
        "value": 1 / (number + 1),
        "time": time.time_ns() // 10**6,
    }


def get_timed(
    connection: http.client.HTTPConnection, target: str, accept: str = "application/json"
) -> tuple[float, int]:
    """ms to the last byte, and the number of bytes."""
    began = time.perf_counter()
    connection.request("GET", target, headers={"Accept": accept})
    response = connection.getresponse()
    size = 0
    while piece := response.read(1 << 16):
        size += len(piece)
    if response.status != 200:
        raise RuntimeError(f"{target} was answered {response.status}")
    return 1000 * (time.perf_counter() - began), size
