"""A simulated worker, a program of its own: claims jobs, then writes their metrics as a worker's supervisors do.

It says `ready` once it has its jobs, begins at a line on stdin, and writes what it saw to stdout as one JSON object.
Settings come from the environment, as a worker's do.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import dataclass, field

from jobs.access.scope import SERVICE
from jobs.repository import queue
from jobs.repository.queue import Offer
from jobs.settings import Settings
from worker import protocol
from worker.attempt import AttemptWriter
from worker.context import WorkerContext
from worker.transfers import Transfers

NAMES = ("train/loss", "train/accuracy", "train/lr", "train/examples_per_second", "train/gradient_norm")


@dataclass
class Feed:
    """One running job: what its training says, written by the worker's own code."""

    writer: AttemptWriter
    step: int = 0

    def write(self, points: int) -> None:
        """One batch, one transaction."""
        said = []
        for number in range(points):
            if number % len(NAMES) == 0:
                self.step += 10
            name, now = NAMES[number % len(NAMES)], time.time_ns() // 1_000_000
            said.append(protocol.Point(name=name, step=self.step, epoch=0, value=1 / self.step, time=now))
        self.writer.absorb([protocol.Metrics(points=tuple(said))])
        self.writer.flush()


@dataclass
class Seen:
    seconds: list[float] = field(default_factory=list)
    """Of each batch."""
    errors: list[str] = field(default_factory=list)


def feed(feeds: list[Feed], batch: int, deadline: float, seen: Seen) -> None:
    """Round and round over the jobs, as fast as it goes."""
    try:
        while time.monotonic() < deadline:
            for one in feeds:
                began = time.perf_counter()
                one.write(batch)
                seen.seconds.append(time.perf_counter() - began)
                if time.monotonic() >= deadline:
                    break
    except Exception as error:  # noqa: BLE001  (in a thread: the parent reports it)
        seen.errors.append(f"{type(error).__name__}: {error}")


def claimed(context: WorkerContext, count: int) -> list[Feed]:
    feeds: list[Feed] = []
    transfers = Transfers()  # no files come with metrics
    for _ in range(count):
        with context.database.write(SERVICE) as session:
            claim = queue.claim(session, Offer(context.id), context.lease_ms)
        if claim is None:
            raise RuntimeError(f"only {len(feeds)} of {count} jobs were in the queue")
        writer = AttemptWriter(context, claim, transfers, context.settings.work_dir)
        writer.begin()
        feeds.append(Feed(writer))
    return feeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True, help="points of one transaction")
    parser.add_argument("--threads", type=int, required=True, help="among which the jobs are divided")
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    context = WorkerContext.create(Settings())
    feeds = claimed(context, arguments.jobs)
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.monotonic(), time.process_time()
    seen = Seen()
    parts = [feeds[number :: arguments.threads] for number in range(arguments.threads)]
    threads = [
        threading.Thread(target=feed, args=(part, arguments.batch, began + arguments.seconds, seen)) for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = {
        "elapsed": time.monotonic() - began, "cpu": time.process_time() - cpu, "seconds": seen.seconds,
        "errors": seen.errors,
    }  # fmt: skip
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
