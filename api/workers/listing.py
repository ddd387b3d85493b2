"""The live workers, for every room that shows them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.service import Service
from api.workers.schemas import WorkerState
from jobs.repository import recovery, workers


def states(session: Session, service: Service) -> list[WorkerState]:
    """The live workers, by id."""
    rows = recovery.live_workers(session, service.settings.alive_ms)
    running = workers.running(session, [row.id for row in rows])
    return [WorkerState.of(row, running[row.id]) for row in rows]
