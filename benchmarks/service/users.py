"""Users of a soak: each submits jobs and does to them what users do, and remembers what must come of each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adderclient import AdderClientError, Client, ConflictError
from adderclient import Job as ClientJob

FINAL = frozenset({"succeeded", "failed", "cancelled"})
POINTS = (5, 40)  # of a job, between
SECONDS = (0.5, 4.0)  # of a job, between
FAILS, CANCELS, PAUSES, RETRIES, DELETES = 0.05, 0.15, 0.2, 0.1, 0.05
"""Shares of the jobs."""
POLL = 0.25  # seconds between two looks of a user
THINK = (0.2, 1.5)  # seconds between two jobs of a user


@dataclass
class Record:
    """What was done to a job, so that its end can be judged."""

    points: int
    fail: bool
    cancelled: bool = False
    deleted: bool = False


@dataclass
class Book:
    """What all users together did."""

    jobs: dict[str, Record] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str) -> None:
        with self.lock:
            self.done[what] += 1

    def recent(self, chance: random.Random) -> str | None:
        with self.lock:
            ids = [job for job, record in list(self.jobs.items())[-40:] if not record.deleted]
        return chance.choice(ids) if ids else None


Act = Callable[[Client, Book, random.Random, Path], None]


def loop(act: Act, url: str, book: Book, seed: int, folder: Path, over: threading.Event) -> None:
    """Does `act` again and again. An answer that should not come is remembered, and fails the soak."""
    chance = random.Random(seed)
    with Client(url) as client:
        while not over.is_set():
            try:
                act(client, book, chance, folder)
            except Exception as error:  # noqa: BLE001  (in a thread: the soak reports it)
                with book.lock:
                    book.errors.append(f"{act.__name__}: {type(error).__name__}: {error}")
            over.wait(chance.uniform(*THINK))


def own_a_job(client: Client, book: Book, chance: random.Random, folder: Path) -> None:
    """Submits a job, perhaps pauses and resumes or cancels it, sees it end, reads it back, perhaps retries it."""
    points, seconds, fail = chance.randint(*POINTS), chance.uniform(*SECONDS), chance.random() < FAILS
    labels = {"points": str(points), "seconds": f"{seconds:.2f}"} | ({"fail": "yes"} if fail else {})
    spec = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "labels": labels,
            "priority": chance.randint(-2, 2)}  # fmt: skip
    job = _enter(book, client.jobs.submit(spec), Record(points, fail), "submit")
    fate = chance.random()
    if fate < CANCELS:
        time.sleep(chance.uniform(0, seconds))
        _cancel(client, book, job)
    elif fate < CANCELS + PAUSES:
        _pause(client, book, job)
    ended = _ended(client, job)
    _read(client, book, job, folder)
    if chance.random() < RETRIES:
        from_ = "checkpoint" if ended.status == "cancelled" and chance.random() < 0.5 else "start"
        try:
            again = client.jobs.retry(job, from_)  # type: ignore[arg-type]
        except ConflictError:
            book.note("retry refused: no checkpoint")
        else:
            _ended(client, _enter(book, again, Record(points, fail), f"retry from {from_}"))
    if chance.random() < DELETES:
        with book.lock:
            book.jobs[job].deleted = True
        client.jobs.delete(job)
        book.note("delete")


def _enter(book: Book, job: ClientJob, record: Record, what: str) -> str:
    with book.lock:
        book.jobs[job.id] = record
    book.note(what)
    return job.id


def _cancel(client: Client, book: Book, job: str) -> None:
    book.jobs[job].cancelled = True
    try:
        client.jobs.cancel(job)
    except ConflictError:
        book.note("cancel refused: ended")
    else:
        book.note("cancel")


def _pause(client: Client, book: Book, job: str) -> None:
    _until(client, job, FINAL | {"running"})
    try:
        client.jobs.pause(job)
    except ConflictError:
        book.note("pause refused: ended")
        return
    book.note("pause")
    while _until(client, job, FINAL | {"paused", "queued", "running"}).status == "paused":
        client.jobs.resume(job)
        book.note("resume")


def _until(client: Client, job: str, statuses: frozenset[str]) -> ClientJob:
    while (found := client.jobs.get(job)).status not in statuses:
        time.sleep(POLL)
    return found


def _ended(client: Client, job: str) -> ClientJob:
    return _until(client, job, FINAL)


def _read(client: Client, book: Book, job: str, folder: Path) -> None:
    client.jobs.metrics(job)
    client.jobs.events(job)
    if client.jobs.artifacts(job):
        client.jobs.download(job, "log.txt", folder / f"{job}.txt").unlink()
        book.note("download")
    book.note("read")


def follow_a_stream(client: Client, book: Book, chance: random.Random, folder: Path) -> None:
    """From a job's history to its end."""
    if (job := book.recent(chance)) is None:
        return
    try:
        for _ in client.jobs.stream(job):
            pass
    except AdderClientError:
        if not book.jobs[job].deleted:
            raise
    book.note("stream")


def look_around(client: Client, book: Book, chance: random.Random, folder: Path) -> None:
    """Lists, filters, and the machine's state."""
    page = client.jobs.list(limit=chance.randint(1, 100), status=chance.choice(["queued", "running", "succeeded"]))
    if page.has_more:
        client.jobs.list(limit=20)
    client.system()
    client.ready()
    book.note("look")


def wrong_end(record: Record, job: Any, steps: list[int]) -> str | None:
    """What is wrong with a job's end, if anything: lost, or not what its users did to it."""
    if record.deleted:
        return None
    if job is None:
        return "is gone"
    allowed = {"failed" if record.fail else "succeeded"} | ({"cancelled"} if record.cancelled else set())
    if job.status not in allowed:
        return f"is {job.status}, not {' or '.join(sorted(allowed))}; {job.error}"
    expected = list(range(1, record.points + 1))
    if job.status != "cancelled" and job.retry_of is None and steps != expected:
        return f"has the steps {steps} of {record.points}"
    return None
