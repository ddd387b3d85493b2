"""Looks at a job or a sweep until it has ended, and bears a server that is away for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import TypeVar

import anyio

from adderclient.blocking import Awaitable
from adderclient.errors import AdderClientError, ConnectionFailed, ServerError, WaitTimeout
from adderclient.looking import FIRST_PAUSE, GROWTH, LONGEST_PAUSE, OUTAGE, Look
from adderclient.progress import Progress, shown
from adderclient.records import Job, Sweep

W = TypeVar("W", bound=Job | Sweep)


async def looks(
    look: Callable[[], Awaitable[W]], timeout: float | None = None, interval: float | None = None
) -> AsyncIterator[Look[W]]:
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
    began = heard = monotonic()
    pause = FIRST_PAUSE if interval is None else interval
    seen: W | None = None
    while True:
        trouble: AdderClientError | None = None
        try:
            seen = await look()
            heard = monotonic()
        except (ConnectionFailed, ServerError) as error:
            if seen is None or monotonic() - heard > OUTAGE:
                raise
            trouble = error
        yield Look(seen, trouble)
        if seen.finished:
            return
        if timeout is not None and monotonic() - began >= timeout:
            raise WaitTimeout(seen, timeout)
        await anyio.sleep(pause)
        if interval is None:
            pause = min(pause * GROWTH, LONGEST_PAUSE)


async def ended(look: Callable[[], Awaitable[W]], timeout: float | None, progress: Progress[W]) -> W:
    """What `looks` sees last. `progress` is told of each look. Raises as `looks` does."""
    with shown(progress) as tell:
        async for found in looks(look, timeout):
            tell(found.seen)
    return found.seen
