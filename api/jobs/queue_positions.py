"""Positions of queued jobs and when they are expected to start.

A short queue is read anew for every request. The forecast of a long queue is kept for some seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.access.scope import OwnTransaction, Scope
from jobs.forecast import Forecast
from jobs.repository import outlook
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables import Job

FRESH = 200
"""Up to so many queued jobs, every request reads the whole queue, which takes some milliseconds."""
KEEP_SECONDS = 2.0
"""How long the forecast of a longer queue is kept at least: ten times as long as it took to make, if that is more."""


@dataclass(frozen=True)
class QueuePosition:
    """Where a queued job stands."""

    position: int
    """1 for the next job among those that compete for the same workers."""
    starts_at: int | None
    """Milliseconds since 1970; None where nothing is known."""
    waiting_for: str | None
    """What the job asks for that no live worker has."""


class QueuePositions:
    """The queue as one API process sees it. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._live_ms = settings.live_ms
        self._lock = threading.Lock()
        self._kept: dict[Scope, tuple[Forecast, float]] = {}
        """The forecasts of long queues, and until when each is kept. A project's is made of its own jobs alone."""

    def of(self, session: OwnTransaction, jobs: Sequence[Job]) -> dict[str, QueuePosition]:
        """The positions of those jobs that are queued, by id. All of one call come from one forecast."""
        queued = [job for job in jobs if job.status == Status.QUEUED]
        if not queued:
            return {}
        forecast = self._forecast(session)
        found = {}
        for job in queued:
            waiting = forecast.standing(outlook.waiting_of(job))
            seconds = forecast.start_in(waiting)
            starts_at = None if seconds is None else forecast.at_ms + round(1000 * seconds)
            found[job.id] = QueuePosition(forecast.position(waiting), starts_at, forecast.waiting_for(waiting.needs))
        return found

    def of_new(self, session: OwnTransaction, job: Job) -> QueuePosition:
        """Where a job would stand that nobody has submitted yet (`lifecycle.imagined`)."""
        forecast, waiting = self._forecast(session), outlook.waiting_of(job)
        short = len(forecast.waiting) <= FRESH  # a simulation of a long queue takes too long for each keystroke
        seconds = forecast.start_of_new(waiting) if short else forecast.start_in(waiting)
        starts_at = None if seconds is None else forecast.at_ms + round(1000 * seconds)
        return QueuePosition(forecast.position(waiting), starts_at, forecast.waiting_for(waiting.needs))

    def seconds_of(self, session: OwnTransaction, job: Job) -> float | None:
        """How long a job is expected to run, by those that ran lately; None where none did."""
        forecast = self._forecast(session)
        device = job.needs_device
        if device == "auto":
            device = "cuda" if any(host.gpus for host in forecast.hosts) else "cpu"
        pace = forecast.paces.get(device)
        return None if pace is None else pace.seconds(job.work)

    def _forecast(self, session: OwnTransaction) -> Forecast:
        kept = self._fresh(session.scope)
        if kept is not None:
            return kept
        older = self._kept.get(session.scope)
        # While one thread reads a long queue, the others go on with the forecast before.
        if not self._lock.acquire(blocking=older is None):
            return older[0] if older is not None else self._refresh(session)
        try:
            return self._fresh(session.scope) or self._refresh(session)
        finally:
            self._lock.release()

    def _fresh(self, scope: Scope) -> Forecast | None:
        found = self._kept.get(scope)
        return found[0] if found is not None and time.monotonic() < found[1] else None

    def _refresh(self, session: OwnTransaction) -> Forecast:
        began = time.monotonic()
        found = outlook.forecast(session, self._live_ms)
        if len(found.waiting) > FRESH:
            now = time.monotonic()
            self._kept[session.scope] = found, now + max(KEEP_SECONDS, 10 * (now - began))
        else:
            self._kept.pop(session.scope, None)
        return found
