"""What `/metrics` asks of other parts: each in a thread of its own, for a bounded time, and not at every scrape."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from anyio import CapacityLimiter

from api.service import Service
from jobs.repository import health
from jobs.repository.core import now

T = TypeVar("T")

PATIENCE_SECONDS = 3.0
"""A scrape waits so long for all parts together; Prometheus gives up after 10 s by default."""
KEEP_SECONDS = 1.0
"""Readings are given out again for that long, so that many scrapers cost no more than one."""
SCRAPES = 4
"""At a time; further ones wait."""
KEEP_LONG_SECONDS = 60.0
"""For readings that cost more, or write."""

log = structlog.get_logger()


class Reading(Generic[T]):
    """The answer of a part that may be slow or away."""

    def __init__(self, part: str, ask: Callable[[], T], *, seldom: bool = False) -> None:
        self._part = part
        self._ask = ask
        self._seldom = seldom
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._asking = False
        self._at = float("-inf")
        self._answer: T | None = None

    def start(self) -> None:
        """Asks, unless an answer is young enough or still awaited: a part that hangs holds one thread, not many."""
        with self._lock:
            # What is away is looked for again soon.
            keep = KEEP_LONG_SECONDS if self._seldom and self._answer is not None else KEEP_SECONDS
            if self._asking or time.monotonic() - self._at < keep:
                return
            self._asking = True
            self._answered.clear()
        threading.Thread(target=self._run, name=f"reading-{self._part}", daemon=True).start()

    def get(self, deadline: float) -> T | None:
        """The answer; None where the part is away or has not answered by `deadline` (monotonic seconds)."""
        if not self._answered.wait(max(0.0, deadline - time.monotonic())):
            return None
        return self._answer

    def _run(self) -> None:
        answer = None
        try:
            answer = self._ask()
        except Exception as error:  # noqa: BLE001  (a scrape never fails; the metric and this line say so)
            log.warning("metrics.no_answer", part=self._part, error=str(error), kind=type(error).__name__)
        with self._lock:
            self._answer, self._at, self._asking = answer, time.monotonic(), False
            self._answered.set()


@dataclass(frozen=True)
class Timed(Generic[T]):
    value: T
    seconds: float
    """Of the smallest round trip to the part."""


@dataclass(frozen=True)
class Parts:
    """What was found; None: that part is away."""

    database: Timed[health.Snapshot] | None
    stored: Mapping[str, int] | None
    broker: Timed[int] | None
    """Length of the queue of wake-ups."""
    store: float | None
    disk: tuple[int, int] | None
    """Size and free bytes of the disk with the data folder."""


class Readings:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._database = Reading("database", self._ask_database)
        self._stored = Reading("stored bytes", self._ask_stored, seldom=True)
        self._broker = Reading("broker", self._ask_broker)
        self._store = Reading("artifact store", self._ask_store, seldom=True)
        self._disk = Reading("data folder", self._ask_disk)
        self.threads = CapacityLimiter(SCRAPES)

    def take(self) -> Parts:
        """Asks all parts at once. Blocks; `threads` keeps it from waiting for requests that wait for the database."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        readings = (self._database, self._stored, self._broker, self._store, self._disk)
        for reading in readings:
            reading.start()
        return Parts(
            self._database.get(deadline),
            self._stored.get(deadline),
            self._broker.get(deadline),
            self._store.get(deadline),
            self._disk.get(deadline),
        )

    def _ask_database(self) -> Timed[health.Snapshot]:
        with self._service.database.read() as session:
            now(session)  # connects, where that is still to be done
            began = time.perf_counter()
            now(session)
            seconds = time.perf_counter() - began
            return Timed(health.snapshot(session), seconds)

    def _ask_stored(self) -> Mapping[str, int]:
        with self._service.database.read() as session:
            return health.stored_bytes(session)

    def _ask_broker(self) -> Timed[int]:
        with self._service.broker.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2, interval_start=0.1)
            client = connection.default_channel.client
            began = time.perf_counter()
            length = int(client.llen(self._service.settings.queue))
            return Timed(length, time.perf_counter() - began)

    def _ask_store(self) -> float:
        """Seconds of a small write and its reading back, which is how a store tells its time."""
        began = time.perf_counter()
        self._service.store.now()
        return time.perf_counter() - began

    def _ask_disk(self) -> tuple[int, int]:
        found = shutil.disk_usage(self._service.settings.data_dir)
        return found.total, found.free
