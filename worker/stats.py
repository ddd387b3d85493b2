"""Counters and measurements of a worker. Its heartbeat reports them, and `/metrics` shows them."""

from __future__ import annotations

import os
import resource
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jobs.system_metrics import Sample, stored

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stats:
    """Counters since the process started. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._swept: Counter[str] = Counter()

    def count(self, name: str) -> None:
        """`lease_renewals`, `lease_lost`, `database_errors` or `broker_errors`."""
        with self._lock:
            self._counts[name] += 1

    def attempt_ended(self, cause: str) -> None:
        with self._lock:
            self._ended[cause] += 1

    def garbage_removed(self, removed: Counter[str]) -> None:
        """Counts what a step of the garbage collection removed (`jobs.retention`)."""
        with self._lock:
            self._swept += removed

    def report(
        self, *, running: int, spooled: int, gpus: list[dict[str, int]], samples: Sequence[Sample] = ()
    ) -> dict[str, Any]:
        """The JSON of the worker's row: counters end in `_total`, sizes are in bytes, times in seconds."""
        with self._lock:
            counts = {f"{name}_total": self._counts[name] for name in COUNTERS}
            ended, swept = dict(self._ended), dict(self._swept)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        report = counts | {
            "attempts_ended_total": ended,
            "swept_total": swept,
            "spool_items": spooled,
            "running": running,
            "cpu_seconds_total": round(sum(one.ru_utime + one.ru_stime for one in used), 3),
            "rss_bytes": resident_bytes(),
        }
        return report | ({"gpu": gpus} if gpus else {}) | ({"samples": stored(samples)} if samples else {})


COUNTERS = ("lease_renewals", "lease_lost", "database_errors", "broker_errors")


def resident_bytes() -> int:
    """Resident memory of this process without its trainings, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES
