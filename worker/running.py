"""The attempts that this worker process runs now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.repository.attempts import Claim


class Running:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spooled: dict[tuple[str, int], Callable[[], int]] = {}

    @contextmanager
    def entered(self, claim: Claim, spooled: Callable[[], int]) -> Iterator[None]:
        """For the time of the block. `spooled` says how many items wait for the database."""
        key = (claim.job_id, claim.fence)
        with self._lock:
            self._spooled[key] = spooled
        try:
            yield
        finally:
            with self._lock:
                del self._spooled[key]

    @property
    def fences(self) -> set[tuple[str, int]]:
        """`(job id, fence)` of each attempt that runs here."""
        with self._lock:
            return set(self._spooled)

    def spool_items(self) -> int:
        with self._lock:
            return sum(spooled() for spooled in self._spooled.values())
