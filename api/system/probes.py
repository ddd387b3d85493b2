"""What `/metrics` measures in other parts of the service: database, broker, artifact store, disk.

Each probe runs in a thread of its own and for a bounded time, so that a part that hangs does not hold up a scrape.
Results are kept for a moment, so that many scrapers cost no more than one.
"""

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
from jobs.access.scope import SERVICE
from jobs.repository import health
from jobs.repository.core import now

T = TypeVar("T")

PATIENCE_SECONDS = 3.0
"""How long a scrape waits for all probes together. Prometheus gives up after 10 s by default."""
KEEP_SECONDS = 1.0
"""How long a result is used again before the part is asked anew."""
KEEP_LONG_SECONDS = 60.0
"""The same, for probes that cost more or that write."""
SCRAPES = 4
"""Scrapes that run at the same time; further ones wait."""

log = structlog.get_logger()


class Probe(Generic[T]):
    """One measurement of a part that may be slow or away. Thread-safe."""

    def __init__(self, part: str, measure: Callable[[], T], *, expensive: bool = False) -> None:
        self._part = part
        self._measure = measure
        self._expensive = expensive
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._running = False
        self._at = float("-inf")
        self._result: T | None = None

    def start(self) -> None:
        """Measures in a thread, unless the last result is still good or a measurement is under way.

        So a part that hangs holds one thread, not one for each scrape.
        """
        with self._lock:
            # After a failure the part is soon asked again, also by an expensive probe.
            keep = KEEP_LONG_SECONDS if self._expensive and self._result is not None else KEEP_SECONDS
            if self._running or time.monotonic() - self._at < keep:
                return
            self._running = True
            self._finished.clear()
        threading.Thread(target=self._run, name=f"probe-{self._part}", daemon=True).start()

    def result(self, deadline: float) -> T | None:
        """The measurement. None when the part is away, or has not answered by `deadline` (monotonic seconds)."""
        if not self._finished.wait(max(0.0, deadline - time.monotonic())):
            return None
        return self._result

    def _run(self) -> None:
        result = None
        try:
            result = self._measure()
        except Exception as error:  # noqa: BLE001  (a scrape never fails: a metric and this line report the error)
            log.warning("metrics.no_answer", part=self._part, error=str(error), kind=type(error).__name__)
        with self._lock:
            self._result, self._at, self._running = result, time.monotonic(), False
            self._finished.set()


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A measurement, and how quickly the part answers."""

    value: T
    seconds: float
    """Duration of the smallest round trip to the part."""


@dataclass(frozen=True)
class ProbeResults:
    """The results of all probes. None stands for a part that is away."""

    database: Timed[health.Snapshot] | None
    stored: Mapping[str, int] | None
    broker: Timed[int] | None
    """Length of the queue of wake-ups."""
    store: float | None
    """Seconds of a small write and its reading back."""
    disk: tuple[int, int] | None
    """Size and free bytes of the disk that holds the data folder."""


class Probes:
    """All probes of one API process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._database = Probe("database", self._measure_database)
        self._stored = Probe("stored bytes", self._measure_stored, expensive=True)
        self._broker = Probe("broker", self._measure_broker)
        self._store = Probe("artifact store", self._measure_store, expensive=True)
        self._disk = Probe("data folder", self._measure_disk)
        self.threads = CapacityLimiter(SCRAPES)
        """Threads for `run`, apart from those of requests: those may all be waiting for the database."""

    def run(self) -> ProbeResults:
        """Runs all probes at the same time. Blocks for at most PATIENCE_SECONDS."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for probe in (self._database, self._stored, self._broker, self._store, self._disk):
            probe.start()
        return ProbeResults(
            self._database.result(deadline),
            self._stored.result(deadline),
            self._broker.result(deadline),
            self._store.result(deadline),
            self._disk.result(deadline),
        )

    def _measure_database(self) -> Timed[health.Snapshot]:
        with self._service.database.read(SERVICE) as session:
            now(session)  # opens the connection, which is not part of the round trip
            began = time.perf_counter()
            now(session)
            seconds = time.perf_counter() - began
            return Timed(health.snapshot(session), seconds)

    def _measure_stored(self) -> Mapping[str, int]:
        with self._service.database.read(SERVICE) as session:
            return health.stored_bytes(session)

    def _measure_broker(self) -> Timed[int]:
        with self._service.broker.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2, interval_start=0.1)
            client = connection.default_channel.client
            began = time.perf_counter()
            length = int(client.llen(self._service.settings.queue))
            return Timed(length, time.perf_counter() - began)

    def _measure_store(self) -> float:
        """`store.now` writes a few bytes and reads their time back."""
        began = time.perf_counter()
        self._service.store.now()
        return time.perf_counter() - began

    def _measure_disk(self) -> tuple[int, int]:
        found = shutil.disk_usage(self._service.settings.data_dir)
        return found.total, found.free
