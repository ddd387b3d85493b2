"""The Celery worker: a wake-up makes a free slot claim and run the best eligible jobs until none is left."""

from __future__ import annotations

import structlog
from celery import Celery, signals

from jobs.errors import FenceLost
from jobs.repository import queue
from jobs.repository.queue import Offer
from jobs.wakeups import TASK
from worker.context import WorkerContext
from worker.housekeeping import Housekeeping
from worker.supervisor import Supervisor

log = structlog.get_logger()


def build(context: WorkerContext) -> Celery:
    """Registers the task and the worker's life cycle on the context's Celery application."""
    housekeeping = Housekeeping(context)

    @context.app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake(queue_name: str, job_id: str) -> None:
        """Names a job only for the log: the database says which one is next."""
        run_available(context)

    def ready(**_: object) -> None:
        housekeeping.start()
        log.info("worker.ready", worker=context.id, slots=context.settings.worker_slots)

    def stopping(**_: object) -> None:
        # In a signal handler: nothing here may take a lock, so it is not logged.
        context.draining.set()

    def stopped(**_: object) -> None:
        housekeeping.stop()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)
    signals.worker_shutdown.connect(stopped, weak=False)
    return context.app


def run_available(context: WorkerContext) -> None:
    """Claims and runs jobs until none is eligible."""
    while not context.draining.is_set():
        with context.database.write() as session:
            claim = queue.claim(session, Offer(context.id, context.devices), context.lease_ms)
        if claim is None:
            return
        try:
            Supervisor(context, claim).run()
        except FenceLost:
            log.warning("attempt.fenced", job=claim.job_id, fence=claim.fence)
