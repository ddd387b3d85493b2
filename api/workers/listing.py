"""The live workers, for every room that shows them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.service import Service
from api.system import health
from api.workers.schemas import WorkerState
from jobs.repository import recovery, workers


def states(session: Session, service: Service) -> list[WorkerState]:
    """The live workers, by id."""
    rows = recovery.live_workers(session, health.live_ms(service.settings))
    running = workers.running(session, [row.id for row in rows])
    return [WorkerState.of(row, running[row.id]) for row in rows]
