"""One attempt's way of bearing a database, or store, that is away: it asks again after pauses that grow."""

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
"""A database that is back must hear from the owners of jobs well before others, who wait a lease, take them."""

T = TypeVar("T")


class Abandoned(Exception):
    """The worker stops and the database is away: the lease runs out, the next owner goes on from the checkpoint."""


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
        """Whether it is too early to ask again."""
        return time.monotonic() < self._until

    def note(self, error: SQLAlchemyError | StoreError) -> None:
        """Sets the next pause. Raises an error that says something else than that a server is away."""
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
        """What `action` returns once the servers answer. Raises Abandoned where the worker cannot wait for that."""
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
