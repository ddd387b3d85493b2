"""`python -m worker`: a worker process that runs jobs, as many side by side as its devices allow.

SIGTERM drains it: it hands its jobs back. Settings are environment variables (ADDER_…).
"""

from __future__ import annotations

import argparse
import sys

import structlog
from celery import signals

from jobs.errors import JobsError
from jobs.logs import configure_logging
from jobs.migrate import require_current
from jobs.settings import Settings
from worker.app import build, leave_on_signals
from worker.context import WorkerContext
from worker.housekeeping import Housekeeping
from worker.privileges import settle

CONSUMER_PAUSE_SECONDS = 1.0

log = structlog.get_logger()


def main() -> int:
    argparse.ArgumentParser(prog="python -m worker", description=__doc__).parse_args()
    settings = Settings()
    try:
        settle(settings)
        context = WorkerContext.create(settings)
        context.isolation.prepare(settings.data_dir)
    except JobsError as error:
        print(f"adder worker: {error}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, process="worker", worker=context.id)
    # Celery asks who sets logging up: with a receiver it leaves that alone, and stdout and stderr too.
    signals.setup_logging.connect(_logging_is_set_up)
    try:
        require_current(context.database)
        context.open_slots()
    except JobsError as error:
        print(f"adder worker: {error}", file=sys.stderr)
        return 2
    build(context)
    leave_on_signals(context)
    if context.template is not None:
        context.template.keep()
    housekeeping = Housekeeping(context)
    housekeeping.start()
    log.info("worker.isolation", kind=context.isolation.kind, note=context.isolation.note)
    log.info("worker.ready", slots=context.slots.devices, memory_mb=context.slots.memory_mb)
    try:
        _consume(context)
    finally:
        context.draining.set()
        housekeeping.stop()
        if context.template is not None:
            context.template.close()
    return 0


def _consume(context: WorkerContext) -> None:
    """Celery's consumer of wake-ups, again and again: an error of the broker that it cannot bear must not end jobs."""
    settings = context.settings
    # Threads, because a slot only supervises: prefork children are daemons and could not start data-loader workers.
    arguments = [
        "--quiet", "worker", "--pool", "threads", "--concurrency", str(len(context.slots.devices)),
        "--queues", settings.queue,
        "--hostname", f"{context.id}@%h", "--loglevel", settings.log_level,
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    while not context.draining.is_set():
        try:
            context.app.worker_main(arguments)
        except (SystemExit, Exception) as error:  # noqa: BLE001  (said in the log)
            if not context.draining.is_set():
                context.stats.count("broker_errors")
                log.error("consumer.ended", error=str(error), kind=type(error).__name__)
        context.draining.wait(CONSUMER_PAUSE_SECONDS)


def _logging_is_set_up(**_: object) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
