"""The Celery worker. On a wake-up message a free slot claims and runs eligible jobs until none is left.

Messages only save time: `Housekeeping` looks at the queue by itself, so that a worker also works without a broker.
"""

from __future__ import annotations

import signal
from typing import Any

import structlog
from celery import Celery, signals
from celery.platforms import EX_OK
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from jobs.access.scope import SERVICE
from jobs.database import database_away
from jobs.repository import queue
from jobs.repository.attempts import Claim
from jobs.wakeups import TASK
from worker.context import WorkerContext
from worker.slots import Free
from worker.supervisor import Supervisor

TURN_SECONDS = 0.1
"""Longest time between two rounds of Celery's event loop. Only a round asks the broker for the next message, and a slot
that becomes free does not start one; an idle loop has one round a second by default."""

log = structlog.get_logger()


def build(context: WorkerContext) -> Celery:
    """Registers the task and the signal handlers on the context's Celery application, and returns it."""

    @context.app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake(queue_name: str, job_id: str) -> None:
        """The job id is for the log alone: the database decides which job is next."""
        run_available(context)

    def stopping(**_: object) -> None:
        # In a signal handler: nothing here may take a lock, so it is not logged.
        context.draining.set()

    def ready(sender: Any, **_: object) -> None:
        sender.timer.call_repeatedly(TURN_SECONDS, lambda: None)

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)
    return context.app


def leave_on_signals(context: WorkerContext) -> None:
    """Has SIGTERM and SIGINT drain this worker also before Celery has handlers of its own, when jobs run already."""

    def leave(*_: object) -> None:
        context.draining.set()
        state.should_stop = EX_OK  # Celery looks at it once it has started

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def run_available(context: WorkerContext) -> None:
    """Claims and runs jobs until none is eligible."""
    while (claim := claim_next(context)) is not None:
        run_claimed(context, claim)


def run_claimed(context: WorkerContext, claim: Claim) -> None:
    """Runs a job that `claim_next` returned, then frees its slot."""
    try:
        # These fields stand on every log line of this thread. The attempt's other threads bind them themselves.
        with bound_contextvars(job=claim.job_id, attempt=claim.attempt, fence=claim.fence):
            Supervisor(context, claim).run()
    finally:
        context.slots.release(claim)
        context.ended.set()


def claim_next(context: WorkerContext) -> Claim | None:
    """Claims the best job that fits a free slot. Pass the result to `run_claimed`.

    Returns:
        None where no job fits, no slot is free or the database is away.
    """
    return context.slots.take(lambda free: _claim(context, free))


def _claim(context: WorkerContext, free: Free) -> Claim | None:
    if context.closed:
        return None
    try:
        with context.database.write(SERVICE) as session:
            return queue.claim(session, context.offer(free), context.lease_ms, live_ms=context.settings.live_ms)
    except SQLAlchemyError as error:
        if not database_away(error):
            raise
        # Housekeeping tries again soon. If the connection broke at the commit, it also gives the claimed job back.
        context.stats.count("database_errors")
        log.warning("claim.deferred", error=str(error.__cause__ or error))
        return None
