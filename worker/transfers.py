"""Copies files between an attempt's work folder and the artifact store, in a thread of its own.

It makes one copy at a time, in order. While the store is away or full it retries the first one after growing pauses.
The training goes on meanwhile, and the supervisor renews the lease.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jobs.errors import StoreFull, StoreUnavailable
from jobs.states import Cause
from worker.backoff import Backoff

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class Transfer(Generic[T]):
    """One copy. Once it is `done`, it has an `error` or a `result`."""

    def __init__(self, copy: Callable[[], T]) -> None:
        self._copy = copy
        self._result: T | None = None
        self.error: Exception | None = None
        self.done = False
        self.cancelled = False
        self.done_at = 0.0
        """Monotonic time in seconds."""

    @property
    def result(self) -> T:
        """What the copy returned. Raises the error that ended it."""
        if self.error is not None:
            raise self.error
        if self._result is None:
            raise RuntimeError("the copy is not made yet")
        return self._result

    def cancel(self) -> None:
        """Does not start or repeat the copy. One that is under way may still succeed."""
        self.cancelled = True

    def attempt(self) -> Exception | None:
        """Tries once. Returns an error after which a retry may succeed; any other outcome is final."""
        try:
            self._result = self._copy()
        except FileNotFoundError as error:
            self.error = error
        except (StoreUnavailable, StoreFull, OSError) as error:
            return error
        except Exception as error:  # noqa: BLE001  (the supervisor judges it)
            self.error = error
        self.done, self.done_at = True, time.monotonic()
        return None


@dataclass(frozen=True)
class Trouble:
    """Copies have failed since `since` (monotonic seconds)."""

    since: float
    error: Exception

    @property
    def cause(self) -> Cause:
        full = isinstance(self.error, StoreFull) or getattr(self.error, "errno", None) in NO_ROOM
        return Cause.DISK_FULL if full else Cause.STORE_LOST


class Transfers:
    """The copies of one attempt.

    Args:
        on_done: called after each copy and each failed try, on the thread that makes them.
    """

    def __init__(self, on_done: Callable[[], None] = lambda: None) -> None:
        self._on_done = on_done
        self._changed = threading.Condition()
        self._waiting: deque[Transfer[Any]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._trouble: Trouble | None = None

    def add(self, copy: Callable[[], T]) -> Transfer[T]:
        transfer = Transfer(copy)
        with self._changed:
            self._waiting.append(transfer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="transfers", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return transfer

    @property
    def trouble(self) -> Trouble | None:
        """Why copies fail at present; None while they succeed."""
        return self._trouble

    @property
    def idle(self) -> bool:
        with self._changed:
            return not self._waiting

    def close(self) -> None:
        """Drops what waits. Does not wait for a copy that is under way, as nobody needs its result."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                transfer = self._waiting[0]
            self._persist(transfer)
            with self._changed:
                if self._waiting and self._waiting[0] is transfer:
                    self._waiting.popleft()
            self._on_done()

    def _persist(self, transfer: Transfer[Any]) -> None:
        pause = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while not (transfer.cancelled or self._closed):
            error = transfer.attempt()
            if error is None:
                self._trouble = None
                return
            self._trouble = Trouble(self._trouble.since if self._trouble else time.monotonic(), error)
            self._on_done()
            with self._changed:
                self._changed.wait_for(lambda: transfer.cancelled or self._closed, timeout=pause.grow())
