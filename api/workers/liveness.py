"""Which workers are alive. Every room that counts or shows workers asks here."""

from __future__ import annotations

from collections.abc import Sequence

from api.workers.schemas import WorkerState
from jobs.access.scope import ServiceTransaction, Transaction
from jobs.repository import recovery, workers
from jobs.settings import Settings
from jobs.tables import Worker


def live_workers(session: Transaction, settings: Settings) -> Sequence[Worker]:
    """The rows of the live workers, ordered by id."""
    return recovery.live_workers(session, settings.live_ms)


def worker_states(session: ServiceTransaction, settings: Settings) -> list[WorkerState]:
    """The live workers as the API answers them, ordered by id."""
    rows = workers.present(session, settings.live_ms)
    running = workers.running(session, [row.id for row in rows])
    return [WorkerState.of(row, running[row.id]) for row in rows]
