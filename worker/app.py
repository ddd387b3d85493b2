"""The Celery worker: a wake-up makes a free slot claim and run the best eligible jobs until none is left.

A wake-up only saves time: `Housekeeping` looks at the queue by itself, so that a worker also runs without a broker.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery, signals
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from jobs.database import database_away
from jobs.repository import queue
from jobs.repository.attempts import Claim
from jobs.wakeups import TASK
from worker.context import WorkerContext
from worker.slots import Free
from worker.supervisor import Supervisor

TURN_SECONDS = 0.1
"""How often Celery's loop turns at least. A slot that falls free does not wake it, and only when it turns it asks the
broker for the next message: by itself an idle loop turns once a second."""

log = structlog.get_logger()


def build(context: WorkerContext) -> Celery:
    """Registers the task and what shutting down means on the context's Celery application."""

    @context.app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake(queue_name: str, job_id: str) -> None:
        """Names a job only for the log: the database says which one is next."""
        run_available(context)

    def stopping(**_: object) -> None:
        # In a signal handler: nothing here may take a lock, so it is not logged.
        context.draining.set()

    def ready(sender: Any, **_: object) -> None:
        sender.timer.call_repeatedly(TURN_SECONDS, lambda: None)

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)
    return context.app


def run_available(context: WorkerContext) -> None:
    """Claims and runs jobs until none is eligible."""
    while (claim := claim_next(context)) is not None:
        run_claimed(context, claim)


def run_claimed(context: WorkerContext, claim: Claim) -> None:
    """Runs a job of `claim_next` and gives its slot free."""
    try:
        # On every line of this thread, also of libraries; the attempt's other threads name the job themselves.
        with bound_contextvars(job=claim.job_id, attempt=claim.attempt, fence=claim.fence):
            Supervisor(context, claim).run()
    finally:
        context.slots.release(claim)
        context.ended.set()


def claim_next(context: WorkerContext) -> Claim | None:
    """The best job for what is free, with its slot; None where there is no such job or slot, or the database is away.

    `run_claimed` takes what this returns.
    """
    return context.slots.take(lambda free: _claim(context, free))


def _claim(context: WorkerContext, free: Free) -> Claim | None:
    if context.closed:
        return None
    try:
        with context.database.write() as session:
            return queue.claim(session, context.offer(free), context.lease_ms, live_ms=context.settings.live_ms)
    except SQLAlchemyError as error:
        if not database_away(error):
            raise
        # Housekeeping looks again soon, and gives back what was claimed if the connection broke at the commit.
        context.stats.count("database_errors")
        log.warning("claim.deferred", error=str(error.__cause__ or error))
        return None
