"""Tells open streams when their job has changed: one query for all of them, in place of one each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio.to_thread
import structlog
from anyio import CapacityLimiter

from jobs.database import Database, database_away
from jobs.repository import history

POLL_SECONDS = 0.5
PLACE_ROUNDS = 4
"""The place of a queued job moves without a change of its own: it counts as changed every so many rounds."""

log = structlog.get_logger()


@dataclass
class Watched:
    """A job that at least one stream is on. Used on the event loop alone."""

    streams: int = 0
    version: object = None
    """Differs from an earlier one when the job has changed since; None: not looked at yet."""
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, version: object) -> None:
        self.version = version
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait(self, seen: object, seconds: float) -> None:
        """Until the version is another than `seen`, or so long."""
        if self.version == seen:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._moved.wait(), seconds)


class Changes:
    """Looks at all watched jobs twice a second, while there are any."""

    def __init__(self, database: Database, threads: CapacityLimiter, closing: asyncio.Event) -> None:
        self._database = database
        self._threads = threads
        self._closing = closing
        self._watched: dict[str, Watched] = {}
        self._looking: asyncio.Task[None] | None = None
        self._round = 0

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watched]:
        watched = self._watched.setdefault(job_id, Watched())
        watched.streams += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            yield watched
        finally:
            watched.streams -= 1
            if not watched.streams:
                del self._watched[job_id]

    async def _look(self) -> None:
        while self._watched and not self._closing.is_set():
            ids = list(self._watched)
            try:
                versions = await anyio.to_thread.run_sync(self._versions, ids, limiter=self._threads)
            except Exception as error:  # noqa: BLE001  (streams depend on this task: it goes on and says so in the log)
                if database_away(error):
                    log.warning("streams.database_away", error=str(error.__cause__ or error))
                else:
                    log.error("streams.look_failed", error=str(error), kind=type(error).__name__)
            else:
                self._tell(ids, versions)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), POLL_SECONDS)
        for watched in self._watched.values():  # they see that the server shuts down
            watched.move(object())

    def _tell(self, ids: Sequence[str], versions: Mapping[str, object]) -> None:
        self._round += 1
        for job_id in ids:
            watched, version = self._watched.get(job_id), versions.get(job_id, "deleted")
            if watched is not None and watched.version != version:
                watched.move(version)

    def _versions(self, ids: Sequence[str]) -> dict[str, object]:
        with self._database.read() as session:
            rows = history.versions(session, ids)
        return {row.id: (row, self._round // PLACE_ROUNDS if row.status == "queued" else 0) for row in rows}
