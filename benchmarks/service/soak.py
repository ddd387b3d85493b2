"""Mixed work for half an hour: does memory grow, do files stay open, is any job lost?"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from subprocess import Popen
from typing import Any

from sqlalchemy import select

from adderclient import Client
from benchmarks.rows import Row, filesystem
from benchmarks.service.processes import open_files, resident_mib
from benchmarks.service.samples import BLOCKS, slope
from benchmarks.service.setup import TINY_CHILD, Alone, Setup, api_alone
from benchmarks.service.users import FINAL, Book, follow_a_stream, look_around, loop, own_a_job, wrong_end
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.tables import Job, Metric

USERS, FOLLOWERS, LOOKERS = 6, 4, 1  # threads
SLOTS = 4  # of each of two workers
WARM_UP = 1 / 6  # of the time: connections open, caches fill; not part of the slope
SAMPLES = 1_000  # of each process in the whole time
RESTART_SECONDS = (30.0, 90.0)  # between two restarts of the second worker, at random
STOP_SECONDS = 60.0  # a worker hands its jobs over and leaves
END_SECONDS = 180.0  # all jobs have ended, once nobody submits any more


def measure(setup: Setup) -> Iterator[Row]:
    for database in setup.databases:
        yield from _soak(setup, database)


@dataclass
class Series:
    """Samples of one process."""

    hours: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)


def _soak(setup: Setup, database: str) -> Iterator[Row]:
    load = os.getloadavg()
    book, seconds = Book(), 60 * setup.amounts.minutes
    child = f"{sys.executable} -I -S {TINY_CHILD}"
    with api_alone(setup, database, child_command=child, worker_slots=str(SLOTS)) as service:
        with service.workers(1) as (steady,), _restarted(service) as restarts:
            pids = {**service.parts, "worker": steady.pid}
            with _users(service, book):
                series = _sampled(pids, seconds)
            _see_all_end(service, book)
            wrong = _wrong(service, book)
        done = dict(book.done) | {"worker restart": restarts[0]}
    about = {
        "database": database, "quick": setup.quick, "minutes": setup.amounts.minutes, "done": done,
        "warm_up_share": round(WARM_UP, 3), "filesystem": filesystem(setup.scratch), "workers": 2, "slots": SLOTS,
    }  # fmt: skip
    interval = about | {"values": f"lower end, slope and upper end of the 95 % interval, over {BLOCKS} block means"}
    for process, samples in series.items():
        warm = int(len(samples.hours) * WARM_UP)
        rate = slope(samples.hours[warm:], samples.mib[warm:])
        name = f"{database}, {process}"
        yield Row("soak: slope of memory", name, "MiB/h", [rate.low, rate.value, rate.high], load, interval)
        yield Row("soak: memory", name, "MiB", _blocks(samples.mib), load, about)
        yield Row("soak: open files", name, "", _blocks(samples.files), load, about)
    yield Row("soak: jobs", database, "", [len(book.jobs)], load, about)
    yield Row("soak: jobs that did not end as they should, and other errors", database, "", [len(wrong)], load, about)
    if wrong:
        raise RuntimeError(f"{len(wrong)} things went wrong in the soak, among them: {wrong[:5]}")


def _blocks(values: Sequence[float]) -> list[float]:
    borders = [len(values) * block // BLOCKS for block in range(BLOCKS + 1)]
    return [fmean(values[borders[i] : borders[i + 1]]) for i in range(BLOCKS)]


@contextmanager
def _users(service: Alone, book: Book) -> Iterator[None]:
    over = threading.Event()
    acts = [own_a_job] * USERS + [follow_a_stream] * FOLLOWERS + [look_around] * LOOKERS
    threads = [
        threading.Thread(target=loop, args=(act, service.url, book, seed, service.folder, over), daemon=True)
        for seed, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(END_SECONDS)


def _sampled(pids: dict[str, int], seconds: float) -> dict[str, Series]:
    found: dict[str, Series] = defaultdict(Series)
    began = time.monotonic()
    for number in range(SAMPLES):
        time.sleep(max(0.0, began + seconds * number / SAMPLES - time.monotonic()))
        for name, pid in pids.items():
            found[name].hours.append((time.monotonic() - began) / 3600)
            found[name].mib.append(resident_mib(pid))
            found[name].files.append(open_files(pid))
    return found


@contextmanager
def _restarted(service: Alone) -> Iterator[list[int]]:
    """A second worker that is stopped as a deployment stops it, and started again, over and over."""
    count, over, chance, failed = [0], threading.Event(), random.Random(0), []

    def work() -> None:
        try:
            while not over.is_set():
                with service.workers(1) as (worker,):
                    over.wait(chance.uniform(*RESTART_SECONDS))
                    _stop(worker)
                    count[0] += 1
        except Exception as error:  # noqa: BLE001  (in a thread: raised below)
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]


def _stop(worker: Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    worker.wait(STOP_SECONDS)


def _see_all_end(service: Alone, book: Book) -> None:
    """Users left some jobs paused when their time was over: these go on."""
    deadline = time.monotonic() + END_SECONDS
    with Client(service.url) as client:
        waiting = {job for job, record in book.jobs.items() if not record.deleted}
        while waiting:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(waiting)} jobs have not ended: {sorted(waiting)[:5]}")
            for job in sorted(waiting):
                status = client.jobs.get(job).status
                if status == "paused":
                    client.jobs.resume(job)
                elif status in FINAL:
                    waiting.discard(job)
            time.sleep(0.2)


def _wrong(service: Alone, book: Book) -> list[str]:
    """Answers that should not have come, and jobs that are lost, doubled or ended otherwise than they should."""
    wrong: list[str] = list(book.errors)
    store = Database(service.database_url)
    with store.read(DEFAULT) as session:
        for job, record in book.jobs.items():
            found: Any = session.get(Job, job)
            steps = select(Metric.step).where(Metric.job_id == job).order_by(Metric.seq)
            if (said := wrong_end(record, found, list(session.execute(steps).scalars()))) is not None:
                wrong.append(f"{job} {said}")
    store.dispose()
    return wrong
