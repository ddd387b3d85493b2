"""Where queued jobs stand, for all routes: read anew while that is cheap, else from a picture a moment old."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from jobs.forecast import Forecast
from jobs.repository import outlook
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables import Job

FRESH = 200
"""Queued jobs up to which every request reads the whole queue; it takes some milliseconds."""
KEEP_SECONDS = 2.0
"""How old a picture of a longer queue may be; older where one takes long, so that looking takes a tenth of the time."""


@dataclass(frozen=True)
class Place:
    """A queued job's place."""

    position: int
    """1 for the next one among those that compete for the same workers."""
    starts_at: int | None
    """Milliseconds since 1970; None where nothing is known."""
    waiting_for: str | None
    """What no live worker has."""


class Line:
    """The queue, as one API process sees it. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._alive_ms = settings.alive_ms
        self._lock = threading.Lock()
        self._kept: Forecast | None = None
        self._until = 0.0

    def places(self, session: Session, jobs: Sequence[Job]) -> dict[str, Place]:
        """Of those that are queued, by id. All of one call come from one picture."""
        queued = [job for job in jobs if job.status == Status.QUEUED]
        if not queued:
            return {}
        forecast = self._forecast(session)
        found = {}
        for job in queued:
            waiting = outlook.waiting_of(job)
            seconds = forecast.start_in(waiting)
            starts_at = None if seconds is None else forecast.at_ms + round(1000 * seconds)
            found[job.id] = Place(forecast.position(waiting), starts_at, forecast.waiting_for(waiting.needs))
        return found

    def _forecast(self, session: Session) -> Forecast:
        kept = self._kept
        if kept is not None and time.monotonic() < self._until:
            return kept
        # While one thread looks at a long queue, the others go on with the last picture.
        if not self._lock.acquire(blocking=kept is None):
            return kept or self._look(session)
        try:
            return self._look(session)
        finally:
            self._lock.release()

    def _look(self, session: Session) -> Forecast:
        if self._kept is not None and time.monotonic() < self._until:
            return self._kept  # somebody else just looked
        began = time.monotonic()
        found = outlook.forecast(session, self._alive_ms)
        if len(found.waiting) > FRESH:
            now = time.monotonic()
            self._kept, self._until = found, now + max(KEEP_SECONDS, 10 * (now - began))
        else:
            self._kept = None
        return found
