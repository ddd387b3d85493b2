"""Workers and attempts over REST; `tests/worker/test_drain.py` has real workers obey."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from jobs.access.scope import DEFAULT
from jobs.clock import now_ms
from jobs.repository import attempts
from jobs.scheduling import Rules
from jobs.settings import Settings
from jobs.states import Status
from jobs.system_metrics import Sample, stored
from jobs.tables import Worker as WorkerRow
from tests.api.attempt import TIME, Worker
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey
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
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False), "nobody takes jobs"
    assert "no worker accepts jobs" in ready.json()["checks"]["worker"]["detail"]
    other = Worker(worker.database, worker.store)
    other.heartbeat()
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert "1 of them asked to drain" in ready.json()["checks"]["worker"]["detail"]
    back = api.delete(f"/v1/workers/{worker.id}/drain")
    assert (back.status_code, back.json()["state"]) == (202, "active")


def test_a_worker_that_misses_heartbeats_is_listed_while_it_holds_a_lease(api: httpx2.Client, worker: Worker) -> None:
    """Who waits for it to be drained would take it for gone otherwise, though its job may still run."""
    worker.heartbeat()
    api.post("/v1/jobs", json=train_body())
    claim = worker.claim()
    with worker.database.write(DEFAULT) as session:
        session.execute(update(WorkerRow).values(heartbeat_at=now_ms() - 600_000))
    assert [(w["id"], w["running"]) for w in api.get("/v1/workers").json()["data"]] == [(worker.id, 1)]
    assert api.post(f"/v1/workers/{worker.id}/drain", json={"mode": "finish"}).json()["state"] == "draining"
    with worker.writing(claim) as (session, job):
        attempts.hand_back(session, job, Status.QUEUED, "Handed back.")
    assert api.get("/v1/workers").json()["data"] == []


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


@pytest.mark.parametrize(("seconds", "alive"), [(5, True), (25, False)])
def test_everything_agrees_on_whether_a_worker_is_alive(
    tmp_path: Path,
    sqlite_url: str,
    valkey: Valkey,
    worker_of: Callable[[Running], Worker],
    seconds: int,
    alive: bool,
) -> None:
    """The heartbeat of the only worker is so old; three renewals take 15 s, a lease 60 s."""
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, renew_seconds=5.0, lease_seconds=60.0)
    with running(settings) as site, site.client() as api:
        worker = worker_of(site)
        job = api.post("/v1/jobs", json=train_body()).json()["id"]
        worker.heartbeat()
        with worker.database.write(DEFAULT) as session:
            session.execute(update(WorkerRow).values(heartbeat_at=now_ms() - 1000 * seconds))
        told = {
            "ready": api.get("/readyz").json()["checks"]["worker"]["ok"],
            "workers": bool(api.get("/v1/workers").json()["data"]),
            "system": bool(api.get("/v1/system").json()["workers"]),
            "queue": api.get(f"/v1/jobs/{job}").json()["waiting_for"] is None,
            "metrics": 'adder_workers{state="live"} 1.0' in api.get("/metrics").text,
            "drain": api.post(f"/v1/workers/{worker.id}/drain", json={"mode": "finish"}).status_code == 202,
        }
    assert told == dict.fromkeys(told, alive)


def test_submissions_and_claims_go_by_the_same_age() -> None:
    settings = Settings(renew_seconds=7)
    assert Rules.of(settings).live_ms == settings.live_ms == 21_000
    assert Rules().live_ms == Settings().live_ms == 30_000


def test_what_a_worker_used_over_its_last_hours(api: httpx2.Client, worker: Worker) -> None:
    worker.heartbeat()
    assert api.get(f"/v1/workers/{worker.id}/samples").json()["data"] == []
    assert api.get("/v1/workers").json()["data"][0]["cpu"] is None
    page = api.get("/workers").text
    assert "and its jobs" not in page, "there is nothing to draw yet"
    samples = [Sample(TIME + 60_000 * n, 0.5 * n, (n + 1) << 30, 0.25, 3 << 30) for n in range(4)]
    worker.heartbeat(samples=stored(samples))
    answer = api.get(f"/v1/workers/{worker.id[:-3]}/samples").json()["data"]
    assert answer[3] == {
        "time": "2025-11-21T03:03:00.123Z", "cpu": 1.5, "memory_bytes": 4 << 30,
        "gpu": 0.25, "gpu_memory_bytes": 3 << 30,
    }  # fmt: skip
    assert [one["cpu"] for one in answer] == [0.0, 0.5, 1.0, 1.5]
    (listed,) = api.get("/v1/workers").json()["data"]
    assert (listed["cpu"], listed["memory_bytes"]) == (1.5, 4 << 30)
    assert api.get("/v1/workers/worker_gone/samples").status_code == 404
    page = api.get("/workers").text
    assert "CPU cores in use of here: 1.5 now, at most 1.5 in the last 3 minutes" in page
    assert "Memory of here: 4.3 GB now" in page
    assert "GPUs in use of here: 0.25 now" in page
