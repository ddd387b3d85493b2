"""Workers and attempts over REST; `tests/worker/test_drain.py` has real workers obey."""

from __future__ import annotations

import httpx2

from jobs.repository import attempts
from jobs.states import Status
from tests.api.attempt import Worker
from tests.support.specs import train_body


def test_a_worker_is_drained_and_comes_back(api: httpx2.Client, worker: Worker) -> None:
    worker.heartbeat()
    api.post("/v1/jobs", json=train_body())
    claim = worker.claim()
    listed = api.get("/v1/workers").json()
    assert [(w["id"], w["state"], w["running"]) for w in listed["data"]] == [(worker.id, "active", 1)]
    order = api.post(f"/v1/workers/{worker.id}/drain", json={"mode": "hand_over"})
    assert (order.status_code, order.json()["state"], order.json()["draining"]) == (202, "draining", "hand_over")
    events = api.get(f"/v1/jobs/{claim.job_id}/events").json()["data"]
    assert [event["type"] for event in events].count("drain") == 1
    worker.heartbeat()
    assert api.get("/v1/system").json()["workers"][0]["state"] == "draining", "a heartbeat does not undo it"
    with worker.writing(claim) as (session, job):
        attempts.hand_back(session, job, Status.QUEUED, "Handed back.")
    assert api.get("/v1/workers").json()["data"][0]["state"] == "drained"
    assert "1 of them asked to drain" in api.get("/readyz").json()["checks"]["worker"]["detail"]
    back = api.delete(f"/v1/workers/{worker.id}/drain")
    assert (back.status_code, back.json()["state"]) == (202, "active")


def test_a_worker_is_found_by_its_beginning_or_its_host(lite_api: httpx2.Client, lite_worker: Worker) -> None:
    lite_worker.heartbeat()
    for name in (lite_worker.id[:-3], "here"):
        answer = lite_api.post(f"/v1/workers/{name}/drain", json={"mode": "finish"})
        assert (answer.status_code, answer.json()["id"]) == (202, lite_worker.id), name
    other = Worker(lite_worker.database, lite_worker.store)
    other.heartbeat()
    several = lite_api.post("/v1/workers/here/drain", json={"mode": "finish"})
    assert several.status_code == 409
    assert lite_worker.id in several.json()["detail"]
    assert other.id in several.json()["detail"]
    for name in ("worker_gone", "%25", "%00"):
        missing = lite_api.delete(f"/v1/workers/{name}/drain")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found"), name
    bad = lite_api.post("/v1/workers/here/drain", json={"mode": "now"})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["pointer"] == "/mode"


def test_attempts_say_where_and_why(api: httpx2.Client, worker: Worker) -> None:
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    assert api.get(f"/v1/jobs/{job}/attempts").json()["data"] == []
    claim = worker.claim()
    with worker.writing(claim) as (session, row):
        attempts.fault(session, row, "Attempt 1 was lost: signal 9 ended the training process.")
    claim = worker.claim()
    worker.finish(claim)
    first, second = api.get(f"/v1/jobs/{job}/attempts").json()["data"]
    assert (first["attempt"], first["cause"], first["worker"], first["device"]) == (1, "worker_lost", worker.id, "cpu")
    assert "signal 9" in first["message"]
    assert first["ended_at"] is not None
    assert (second["attempt"], second["cause"]) == (2, "succeeded")
    assert api.get("/v1/jobs/job_00000000000000000000000000/attempts").status_code == 404
