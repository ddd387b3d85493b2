"""How long a short training takes from its submission: until its first metric can be read, and until it has succeeded.

`python -m benchmarks.service.start` prints where the time goes, phase by phase, by the worker's own log.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from adderclient import Client
from benchmarks.rows import Row, filesystem
from benchmarks.service.drain import REAL_SPEC
from benchmarks.service.setup import DATABASES, Setup, adder_up, prepared

JOBS = 20
QUICK_JOBS = 3
TRIALS = 20
POLL = 0.01
"""Seconds between two looks of the client."""
END_SECONDS = 300.0
WAYS = {"forked": "true", "spawned": "false"}
"""How processes start, and the setting `ADDER_TEMPLATE` for that."""
HEARD = "attempt.heard"
STEPS = {
    "claimed": "attempt.started",
    "process started": "attempt.process",
    "environment told": "attempt.heard environment",
    "reading data": "attempt.phase reading_data",
    "training": "attempt.phase training",
    "first metrics": "attempt.heard metrics",
    "validating": "attempt.phase validating",
    "storing (files are written)": "attempt.phase storing",
    "result told": "attempt.heard done",
    "process ended": "attempt.process_ended",
    "files in the store": "attempt.stored",
    "succeeded": "attempt.ended",
}
"""What a job goes through, in order, and the line of the worker's log at debug level that says so."""


@dataclass(frozen=True)
class Start:
    """Seconds since the submission."""

    first_metric: float
    succeeded: float
    steps: Mapping[str, float]
    """By the names of `STEPS`."""


def measure(setup: Setup) -> Iterator[Row]:
    """Jobs of one epoch, one after the other, on a service that is idle otherwise."""
    count = QUICK_JOBS if setup.quick else JOBS
    for database in setup.databases:
        for way in WAYS:
            load = os.getloadavg()
            found = starts(setup, database, way, count)
            about = {
                "database": database, "quick": setup.quick, "way": way, "client_poll_ms": POLL * 1000,
                "filesystem": filesystem(setup.scratch),
            }  # fmt: skip
            for what, values in (
                ("first metric read", [start.first_metric for start in found]),
                ("succeeded seen", [start.succeeded for start in found]),
            ):
                yield Row("start", f"{database}, {way}, submit to {what}", "s", values, load, about)


def measure_sweep(setup: Setup) -> Iterator[Row]:
    """A sweep of short trainings on one slot: they differ by their seed."""
    trials = QUICK_JOBS if setup.quick else TRIALS
    for database in setup.databases:
        load = os.getloadavg()
        with adder_up(setup, database, worker_slots="1") as service, Client(service.url, timeout=60.0) as client:
            _await_template(service.log)
            began = time.time()
            sweep = client.sweeps.submit({"base": REAL_SPEC, "grid": {"seed": list(range(trials))}})
            client.sweeps.wait(sweep.id, timeout=60.0 * trials)
            seconds = time.time() - began
        about = {"database": database, "quick": setup.quick, "trials": trials, "filesystem": filesystem(setup.scratch)}
        yield Row("sweep", f"{database}, {trials} trainings of one epoch, one slot", "s", [seconds], load, about)


def starts(setup: Setup, database: str, way: str, count: int) -> list[Start]:
    """Runs `count` jobs after one that is not counted."""
    with (
        adder_up(setup, database, template=WAYS[way], log_level="debug", worker_threads="1") as service,
        Client(service.url) as client,
    ):
        if way == "forked":
            _await_template(service.log)
        found = [_one(client, service.log, way) for _ in range(count + 1)]
    return found[1:]


def _await_template(log: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while not any(line["event"] == "template.ready" for line in _lines(log)):
        if time.monotonic() > deadline:
            raise RuntimeError("the template did not get ready")
        time.sleep(0.1)


def _one(client: Client, log: Path, way: str) -> Start:
    began = time.time()
    job_id = client.jobs.submit(REAL_SPEC).id
    first: float | None = None
    deadline = began + END_SECONDS
    while True:
        if first is None and client.jobs.metrics(job_id, limit=1):
            first = time.time() - began
        job = client.jobs.get(job_id)
        if job.finished:
            break
        if time.time() > deadline:
            raise RuntimeError(f"{job_id} did not end")
        time.sleep(POLL)
    succeeded = time.time() - began
    if job.status != "succeeded" or first is None or job.environment.get("process") != way:
        raise RuntimeError(f"{job_id} is {job.status}, its process was {job.environment.get('process')}; {job.error}")
    return Start(first, succeeded, _steps(log, job_id, began))


def _steps(log: Path, job_id: str, began: float) -> dict[str, float]:
    """When each step was logged first."""
    found: dict[str, float] = {}
    for line in _lines(log):
        if line.get("job") == job_id:
            detail = line.get("phase") or (line["kind"] if line["event"] == HEARD else "")
            said = f"{line['event']} {detail}".strip()
            at = datetime.fromisoformat(line["timestamp"]).timestamp() - began
            found.setdefault(said, at)
    return {name: found[said] for name, said in STEPS.items() if said in found}


def _lines(log: Path) -> Iterator[dict[str, str]]:
    """The JSON lines of a log that other programs write to as well."""
    for line in log.read_text(errors="replace").splitlines():
        at = line.find("{")
        try:
            found = json.loads(line[at:]) if at >= 0 else None
        except ValueError:
            continue
        if isinstance(found, dict) and "event" in found and "timestamp" in found:
            yield found


def timeline(found: Mapping[str, Sequence[Start]]) -> str:
    """A table in Markdown: for each step the median moment, and what came since the step before, by way of starting."""
    head = ["step", *(f"{way}: at, ms | + ms" for way in found)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: | ---: |" * len(found)]
    before = dict.fromkeys(found, 0.0)
    for step in STEPS:
        cells = []
        for way, starts in found.items():
            at = statistics.median(start.steps[step] for start in starts)
            cells.append(f"{1000 * at:.0f} | {1000 * (at - before[way]):.0f}")
            before[way] = at
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    for what in ("first_metric", "succeeded"):
        cells = [f"{1000 * statistics.median(getattr(s, what) for s in starts):.0f} |" for starts in found.values()]
        lines.append(f"| *client: {what.replace('_', ' ')} seen* | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service.start", description=__doc__)
    parser.add_argument("--jobs", type=int, default=5, help="of each way of starting (default: 5)")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    with prepared((arguments.database,), None, quick=True) as setup:
        print(timeline({way: starts(setup, arguments.database, way, arguments.jobs) for way in arguments.ways}))


if __name__ == "__main__":
    main()
