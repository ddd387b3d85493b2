"""What tests of one attempt do: submit, run here, look."""

from __future__ import annotations

import threading
from typing import Any

from jobs.access.scope import DEFAULT
from jobs.repository import attempts, history, lifecycle
from jobs.tables import Attempt, Event, Job
from tests.support.servers import wait_until
from tests.support.specs import train_spec
from worker.app import run_available
from worker.context import WorkerContext


def submit(context: WorkerContext, labels: dict[str, str] | None = None, **changes: Any) -> str:
    with context.database.write(DEFAULT) as session:
        return lifecycle.submit(session, train_spec(labels=labels or {}, **changes)).job.id


def job_of(context: WorkerContext, job_id: str) -> Job:
    with context.database.read(DEFAULT) as session:
        return lifecycle.get(session, job_id)


def run_in_background(context: WorkerContext) -> threading.Thread:
    thread = threading.Thread(target=run_available, args=(context,), daemon=True)
    thread.start()
    return thread


def wait_step(context: WorkerContext, job_id: str, step: int) -> None:
    wait_until(lambda: (job_of(context, job_id).progress or {}).get("step", 0) >= step, f"step {step}")


def attempts_of(context: WorkerContext, job_id: str) -> list[Attempt]:
    with context.database.read(DEFAULT) as session:
        return list(attempts.attempts_of(session, job_id))


def causes(context: WorkerContext, job_id: str) -> list[str | None]:
    return [attempt.cause for attempt in attempts_of(context, job_id)]


def events_of(context: WorkerContext, job_id: str, type_: str) -> list[Event]:
    with context.database.read(DEFAULT) as session:
        return [event for event in history.events(session, job_id) if event.type == type_]


def log_of(context: WorkerContext, job_id: str) -> str:
    with context.database.read(DEFAULT) as session:
        return "".join(chunk.text for chunk in history.log_chunks(session, job_id, limit=100_000))
