"""Looks at a job or a sweep until it has ended, and bears a server that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from adderclient.errors import AdderClientError, ConnectionFailed, ServerError, WaitTimeout
from adderclient.records import Job, Sweep

W = TypeVar("W", Job, Sweep)

OUTAGE = 120.0
"""Seconds for which a server that does not answer is borne."""
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.2, 2.0, 1.5  # seconds between two looks, and the factor from one to the next


@dataclass(frozen=True)
class Look(Generic[W]):
    """What is known of a job or a sweep now."""

    seen: W
    """As the server last described it."""
    trouble: AdderClientError | None = None
    """Why this look brought nothing newer."""


def looks(look: Callable[[], W], timeout: float | None = None, interval: float | None = None) -> Iterator[Look[W]]:
    """Looks again and again until what it sees has ended.

    Args:
        look: asks the server.
        timeout: seconds after which to give up; None: never.
        interval: seconds between two looks; None: from 0.2 s, growing to 2 s.

    Returns:
        Each look, the last one at what has ended.

    Raises:
        WaitTimeout: it did not end within ``timeout`` seconds.
        ConnectionFailed: the server did not answer the first look, or for two minutes later on.
        ServerError: the same, with an answer of 5xx.
    """
    began = heard = time.monotonic()
    pause = FIRST_PAUSE if interval is None else interval
    seen: W | None = None
    while True:
        trouble: AdderClientError | None = None
        try:
            seen = look()
            heard = time.monotonic()
        except (ConnectionFailed, ServerError) as error:
            if seen is None or time.monotonic() - heard > OUTAGE:
                raise
            trouble = error
        yield Look(seen, trouble)
        if seen.finished:
            return
        if timeout is not None and time.monotonic() - began >= timeout:
            raise WaitTimeout(seen, timeout)
        time.sleep(pause)
        if interval is None:
            pause = min(pause * GROWTH, LONGEST_PAUSE)
