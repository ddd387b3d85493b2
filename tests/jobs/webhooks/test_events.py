"""Each change that webhooks may ask for is told in the transaction of the change, once for each webhook that asks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.access import projects
from jobs.access.limits import Limits
from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import attempts, lifecycle, models, recovery
from jobs.states import Status
from jobs.tables import Job
from jobs.webhooks import repository
from jobs.webhooks.events import EventType
from tests.api.attempt import MANIFEST, Worker
from tests.jobs import sweeping
from tests.jobs.webhooks.conftest import cancelled, deliveries, hook
from tests.support import datasets
from tests.support.specs import train_spec

URL = "https://hooks.example/adder"


def told(database: Database) -> list[tuple[str, dict[str, Any]]]:
    return [(row.event, json.loads(row.body)["data"]) for row in deliveries(database)]


def submitted(worker: Worker, **changes: Any) -> attempts.Claim:
    with worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, train_spec(**changes))
    return worker.claim()


def test_every_event_comes_of_its_change(database: Database, worker: Worker) -> None:
    hook(database, URL)
    claims = {name: submitted(worker) for name in ("good", "bad", "held", "lost")}
    model = worker.publish(claims["good"])
    worker.finish(claims["good"])
    worker.finish(claims["bad"], Status.FAILED, {"code": "diverged", "message": "Not a number.", "log_tail": ""})
    with database.write(DEFAULT) as session:
        lifecycle.pause(session, claims["held"].job_id)
    worker.pause(claims["held"])
    with database.write(DEFAULT) as session:
        lifecycle.cancel(session, claims["held"].job_id)
    with database.write(SERVICE) as session:  # the service's own transaction tells the job's project
        session.get_one(Job, claims["lost"].job_id).faults = 100
        recovery.reclaim_expired(session, 2**60)
    imported = models.new_model(MANIFEST, worker.store.put_stream([b"x"]), source="imported", job_id=None, metrics=None)
    with database.write(DEFAULT) as session:
        models.add_model(session, imported)
    ready = datasets.ready(worker, "leaves")
    failed = datasets.upload(worker, "stones", b"other")
    claim = worker.claim()
    worker.finish(claim, Status.FAILED, {"code": "bad_data", "message": "No image.", "log_tail": ""})
    sweep = sweeping.create(database)
    sweeping.drive(database, sweep)
    for _ in range(2):
        sweeping.finish(worker, worker.claim(), 0.5)
    sweeping.drive(database, sweep)

    found = [(event, data["id"]) for event, data in told(database)]
    assert {event for event, _ in found} == set(EventType)
    jobs = {name: claim.job_id for name, claim in claims.items()}
    for wanted in (
        ("model.published", model),
        ("job.succeeded", jobs["good"]),
        ("job.failed", jobs["bad"]),
        ("job.paused", jobs["held"]),
        ("job.cancelled", jobs["held"]),
        ("job.failed", jobs["lost"]),
        ("model.published", imported.id),
        ("dataset.ready", ready),
        ("dataset.failed", failed),
        ("job.failed", claim.job_id),
        ("sweep.finished", sweep.id),
    ):
        assert found.count(wanted) == 1, wanted
    data = dict(told(database))
    assert data["job.failed"]["error_code"] == "bad_data"
    assert data["sweep.finished"]["status"] == "succeeded"
    assert data["sweep.finished"]["links"] == {"api": f"/v1/sweeps/{sweep.id}", "page": f"/sweeps/{sweep.id}"}


def test_a_change_that_is_rolled_back_is_not_told(database: Database) -> None:
    hook(database, URL)

    def killed() -> None:
        with database.write(DEFAULT) as session:
            lifecycle.cancel(session, lifecycle.submit(session, train_spec()).job.id)
            raise RuntimeError("the process is killed here")

    with pytest.raises(RuntimeError):
        killed()
    assert deliveries(database) == []


def test_an_event_goes_to_the_webhooks_that_ask_for_it_under_one_id(database: Database) -> None:
    with database.write(SERVICE) as session:
        other = projects.scope_of(projects.create(session, "other", Limits()))
    with database.write(other) as session:
        repository.create(session, name=None, url=URL, wanted=tuple(EventType), most=1, by=None)
    asking = {hook(database, URL).id, hook(database, URL, EventType.JOB_CANCELLED, EventType.JOB_FAILED).id}
    hook(database, URL, EventType.JOB_SUCCEEDED)
    off = hook(database, URL)
    with database.write(DEFAULT) as session:
        repository.change(session, off.id, {"enabled": False})
    cancelled(database)
    found = deliveries(database)
    assert {row.webhook_id for row in found} == asking
    assert len({row.event_id for row in found}) == 1
    assert {row.project_id for row in found} == {"default"}
