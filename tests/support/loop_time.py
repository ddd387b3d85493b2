"""Measures what the event loops of this process do: no callback may keep a loop's thread busy for long."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MOST_SECONDS = 0.1
"""CPU time of one callback. While it runs, the loop answers nobody."""
START_AND_END = ("LifespanOn.main", "Server.serve")
"""Coroutines of uvicorn around the time in which it answers."""
_paused = threading.local()


def _collected(phase: str, _info: dict[str, int]) -> None:
    """What the garbage collector takes depends on all that the test process holds, and says nothing of a callback."""
    if phase == "start":
        _paused.began = time.thread_time()
    else:
        _paused.total = getattr(_paused, "total", 0.0) + time.thread_time() - getattr(_paused, "began", 0.0)


def _doing(handle: Any) -> str:
    """What a handle runs: the name of its task's coroutine, or its callback as it is written."""
    task = getattr(handle._callback, "__self__", None)
    work = task.get_coro() if isinstance(task, asyncio.Task) else handle
    return getattr(work, "__qualname__", repr(work))


@contextmanager
def long_callbacks(most: float = MOST_SECONDS) -> Iterator[list[str]]:
    """Collects a line for each callback of an asyncio loop that takes more than `most` seconds of CPU time.

    Loops of the main thread are not looked at: they are those of the tests, such as Playwright's.
    A server's start and end are not looked at either: nobody is connected then.
    uvloop has callbacks of its own that this does not see: run the server on asyncio's loop.
    """
    found: list[str] = []
    run = asyncio.events.Handle._run

    def timed(handle: Any) -> None:
        doing = _doing(handle)
        if threading.current_thread() is threading.main_thread() or doing in START_AND_END:
            run(handle)
            return
        paused, began = getattr(_paused, "total", 0.0), time.thread_time()
        run(handle)
        took = time.thread_time() - began - (getattr(_paused, "total", 0.0) - paused)
        if took > most:
            found.append(f"{took * 1000:.0f} ms of CPU: {doing}")

    asyncio.events.Handle._run = timed  # type: ignore[method-assign, assignment]
    gc.callbacks.append(_collected)
    try:
        yield found
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
        gc.callbacks.remove(_collected)
