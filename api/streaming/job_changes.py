"""Tells open streams when their job has changed: one query covers all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio.to_thread
import structlog
from anyio import CapacityLimiter

from jobs.access.scope import SERVICE
from jobs.database import Database, database_away
from jobs.repository import history

POLL_SECONDS = 0.5
QUEUED_ROUNDS = 4
"""The position of a queued job changes without a change of its own row. So a queued job counts as changed each time
that so many polls have passed."""

log = structlog.get_logger()


@dataclass
class WatchedJob:
    """A job that at least one stream follows. Used only on the event loop."""

    streams: int = 0
    version: object = None
    """Differs from an earlier version when the job has changed since. None before the first poll."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set_version(self, version: object) -> None:
        """Stores a new version and wakes everyone who waits."""
        self.version = version
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seen: object, seconds: float) -> None:
        """Waits until the version differs from `seen`, at most `seconds`."""
        if self.version == seen:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)


class JobChanges:
    """Polls the versions of all watched jobs, twice a second, as long as there are any."""

    def __init__(self, database: Database, threads: CapacityLimiter, closing: asyncio.Event) -> None:
        self._database = database
        self._threads = threads
        self._closing = closing
        self._watched: dict[str, WatchedJob] = {}
        self._poller: asyncio.Task[None] | None = None
        self._round = 0

    @contextmanager
    def watch(self, job_id: str) -> Iterator[WatchedJob]:
        """Watches a job while the context is open."""
        watched = self._watched.setdefault(job_id, WatchedJob())
        watched.streams += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield watched
        finally:
            watched.streams -= 1
            if not watched.streams:
                del self._watched[job_id]

    async def _poll(self) -> None:
        while self._watched and not self._closing.is_set():
            ids = list(self._watched)
            try:
                versions = await anyio.to_thread.run_sync(self._versions, ids, limiter=self._threads)
            except Exception as error:
                # Streams depend on this task: an error that nobody expected must not end it.
                if database_away(error):
                    log.warning("streams.database_away", error=str(error.__cause__ or error))
                else:
                    log.exception("streams.poll_failed")
            else:
                self._publish(ids, versions)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), POLL_SECONDS)
        for watched in self._watched.values():  # their streams wake up and see that the server shuts down
            watched.set_version(object())

    def _publish(self, ids: Sequence[str], versions: Mapping[str, object]) -> None:
        self._round += 1
        for job_id in ids:
            watched, version = self._watched.get(job_id), versions.get(job_id, "deleted")
            if watched is not None and watched.version != version:
                watched.set_version(version)

    def _versions(self, ids: Sequence[str]) -> dict[str, object]:
        with self._database.read(SERVICE) as session:
            rows = history.versions(session, ids)
        return {row.id: (row, self._round // QUEUED_ROUNDS if row.status == "queued" else 0) for row in rows}
