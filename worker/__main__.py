"""`python -m worker`: a worker process with `ADDER_WORKER_SLOTS` slots. SIGTERM drains it: jobs are handed back."""

from __future__ import annotations

import sys

from celery import signals

from jobs.errors import JobsError
from jobs.logs import configure_logging
from jobs.migrate import require_current
from jobs.settings import Settings
from worker.app import build
from worker.context import WorkerContext


def main() -> int:
    settings = Settings()
    context = WorkerContext.create(settings)
    configure_logging(settings.log_level, process="worker", worker=context.id)
    # Celery asks who sets logging up: with a receiver it leaves that alone, and stdout and stderr too.
    signals.setup_logging.connect(_logging_is_set_up)
    try:
        require_current(context.database)
    except JobsError as error:
        print(f"adder worker: {error}", file=sys.stderr)
        return 2
    # Threads, because a slot only supervises: prefork children are daemons and could not start data-loader workers.
    build(context).worker_main(
        [
            "--quiet", "worker", "--pool", "threads", "--concurrency", str(settings.worker_slots),
            "--queues", settings.queue,
            "--hostname", f"{context.id}@%h", "--loglevel", settings.log_level,
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]
    )  # fmt: skip
    return 0


def _logging_is_set_up(**_: object) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
