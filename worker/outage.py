"""How an attempt waits while the database or the store is away: it retries after growing pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from structlog.typing import FilteringBoundLogger

from jobs.database import database_away
from jobs.errors import StoreError
from worker.backoff import Backoff
from worker.context import WorkerContext

LONGEST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_LEASES = 0.25
"""Longest pause as a share of a lease: when the database is back, the owners of jobs must reach it well before other
workers, which wait a whole lease, take their jobs."""

T = TypeVar("T")


class Abandoned(Exception):
    """The worker stops while the database is away: the lease expires, and the next owner resumes from the
    checkpoint."""


class Outage:
    def __init__(self, context: WorkerContext, log: FilteringBoundLogger) -> None:
        self._context = context
        self._log = log
        settings = context.settings
        longest = min(LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_LEASES * settings.lease_seconds)
        self._pause = Backoff(settings.poll_seconds, longest)
        self._until = 0.0

    @property
    def pausing(self) -> bool:
        """Whether it is too early to retry."""
        return time.monotonic() < self._until

    def note(self, error: SQLAlchemyError | StoreError) -> None:
        """Begins the next pause after an error. Raises the error again unless it means that a server is away."""
        store = isinstance(error, StoreError)
        if not store and not database_away(error):
            raise error
        if not store:
            self._context.stats.count("database_errors")
        self._until = time.monotonic() + self._pause.grow()
        said = str(error.__cause__ or error)
        self._log.warning("store.away" if store else "database.away", error=said, retry_seconds=self._pause.seconds)

    def over(self) -> None:
        self._pause.reset()
        self._until = 0.0

    def bear(self, action: Callable[[], T]) -> T:
        """Retries `action` until the servers answer, and returns its result. Raises Abandoned if the worker stops
        first."""
        leaving_since: float | None = None
        while True:
            try:
                result = action()
            except (SQLAlchemyError, StoreError) as error:
                self.note(error)
            else:
                self.over()
                return result
            if self._context.draining.is_set():
                leaving_since = leaving_since or time.monotonic()
                if time.monotonic() - leaving_since > self._context.settings.cancel_grace_seconds:
                    raise Abandoned
            time.sleep(self._pause.seconds)
