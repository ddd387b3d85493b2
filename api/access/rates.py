"""How many requests a key may send: a bucket for each that is filled again steadily. It counts in one API process."""

from __future__ import annotations

import time
from collections import OrderedDict

MOST = 10_000
"""Keys that are remembered."""


class Rates:
    """Used on the event loop alone."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, per_minute: int, now: float | None = None) -> float:
        """Counts a request.

        Args:
            key: whose it is.
            per_minute: requests that are allowed in a minute, and at once.
            now: the time in seconds; that of a steady clock where it is not given.

        Returns:
            0 where it is allowed, else the seconds until another one is.
        """
        now = time.monotonic() if now is None else now
        left, at = self._buckets.pop(key, (float(per_minute), now))
        left = min(float(per_minute), left + (now - at) * per_minute / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / per_minute
        self._buckets[key] = (left - 1 if wait == 0 else left), now
        while len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return wait
