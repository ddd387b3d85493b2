"""What is told to webhooks. The transaction that changes something writes the deliveries of its event.

So an event is told exactly where its change was committed, and a crash in between loses none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, select

from jobs.access.scope import Transaction
from jobs.clock import now_ms, rfc3339
from jobs.ids import new_id
from jobs.states import DatasetStatus, Status
from jobs.tables import Dataset, Delivery, DeliveryStatus, Job, Model, Sweep, Webhook


class EventType(StrEnum):
    """Types of events, as webhooks ask for them."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_PAUSED = "job.paused"
    SWEEP_FINISHED = "sweep.finished"
    DATASET_READY = "dataset.ready"
    DATASET_FAILED = "dataset.failed"
    MODEL_PUBLISHED = "model.published"


TEST: Final = "webhook.test"
"""The event that `POST /v1/webhooks/{id}/test` sends; no webhook asks for it."""
OF_STATUS: Final = {
    Status.SUCCEEDED: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.CANCELLED: EventType.JOB_CANCELLED,
    Status.PAUSED: EventType.JOB_PAUSED,
}


def job_changed(session: Transaction, job: Job) -> None:
    """Tells of a job that has just ended or was paused; of other changes nothing."""
    event = OF_STATUS.get(Status(job.status))
    if event is None:
        return
    error = None if job.error is None or event is not EventType.JOB_FAILED else job.error.get("code")
    data = {"kind": job.kind, "status": job.status, "model_id": job.model_id, "error_code": error}
    tell(session, job.project_id, event, {"id": job.id, **data, "links": _links("jobs", job.id, page=True)})


def sweep_finished(session: Transaction, sweep: Sweep) -> None:
    """Tells of a sweep that has just ended, whatever its end."""
    data = {"id": sweep.id, "status": sweep.status, "links": _links("sweeps", sweep.id, page=True)}
    tell(session, sweep.project_id, EventType.SWEEP_FINISHED, data)


def dataset_ended(session: Transaction, dataset: Dataset) -> None:
    """Tells of a dataset that has just become ready, or has just failed."""
    event = EventType.DATASET_READY if dataset.status == DatasetStatus.READY else EventType.DATASET_FAILED
    data = {"name": dataset.name, "version": dataset.version, "status": dataset.status, "job_id": dataset.job_id}
    tell(session, dataset.project_id, event, {"id": dataset.id, **data, "links": _links("datasets", dataset.id)})


def model_published(session: Transaction, model: Model) -> None:
    """Tells of a model that was just trained or imported."""
    data = {"source": model.source, "arch": model.arch, "method": model.method, "dataset": model.dataset}
    links = _links("models", model.id, page=True)
    given = {"id": model.id, **data, "job_id": model.job_id, "links": links}
    tell(session, model.project_id, EventType.MODEL_PUBLISHED, given)


def _links(kind: str, id_: str, *, page: bool = False) -> dict[str, str]:
    """Where the object is found, as paths below the service's address."""
    return {"api": f"/v1/{kind}/{id_}"} | ({"page": f"/{kind}/{id_}"} if page else {})


def tell(session: Transaction, project_id: str, event: EventType, data: Mapping[str, Any]) -> None:
    """Writes a delivery for each webhook of the project that asks for this event."""
    hooks = session.execute(
        # Held, so that none is deleted before the row that names it is there. In one order, so that nobody deadlocks.
        select(Webhook)
        .where(Webhook.project_id == project_id, Webhook.enabled)
        .order_by(Webhook.id)
        .with_for_update(read=True, key_share=True)
    ).scalars()
    wanted = [hook for hook in hooks if event in hook.events]
    if wanted:
        event_id = new_id("event")
        for hook in wanted:
            add(session, hook, event_id, event, data)


def add(session: Transaction, hook: Webhook, event_id: str, event: str, data: Mapping[str, Any]) -> str:
    """Writes the delivery of an event to a webhook, due at once. Returns its id."""
    stamp = int(session.execute(select(now_ms())).scalar_one())
    delivery_id = new_id("delivery")
    session.execute(
        insert(Delivery).values(
            id=delivery_id,
            project_id=hook.project_id,
            webhook_id=hook.id,
            event_id=event_id,
            event=event,
            body=json.dumps({"type": event, "timestamp": rfc3339(stamp), "data": data}, separators=(",", ":")),
            status=DeliveryStatus.PENDING,
            attempts=0,
            next_attempt_at=stamp,
            fence=0,
            created_at=stamp,
        )
    )
    return delivery_id
