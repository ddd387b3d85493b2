"""Where a queued job stands, when it starts, what it waits for, and when the queue is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

import api.jobs.queue_positions
from jobs.access.scope import SERVICE
from jobs.repository import recovery
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey
from tests.support.specs import train_body


def submit(api: httpx2.Client, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json=train_body(**changes))
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def place(api: httpx2.Client, job: dict[str, Any]) -> tuple[int | None, str | None, str | None]:
    shown = api.get(f"/v1/jobs/{job['id']}").json()
    return shown["queue_position"], shown["estimated_start_at"], shown["waiting_for"]


def test_a_job_says_what_it_waits_for(api: httpx2.Client, worker: Worker) -> None:
    assert submit(api)["waiting_for"] == "there is no live worker"
    worker.heartbeat()
    said = {
        device or memory: submit(api, resources={"device": device or "auto", "memory_gb": memory})["waiting_for"]
        for device, memory in (("cpu", None), ("cuda", None), (None, 64))
    }
    assert said == {"cpu": None, "cuda": "no live worker has a GPU", 64: "no live worker has 64 GiB of memory"}


def test_a_start_is_foretold_from_what_lately_ran(api: httpx2.Client, worker: Worker) -> None:
    worker.heartbeat()
    first = submit(api)
    claim = worker.claim()
    second = submit(api)
    assert place(api, second)[:2] == (1, None), "nothing has ended yet"
    worker.finish(claim)
    assert place(api, first) == (None, None, None)
    third = submit(api)
    running = [worker.claim(), worker.claim()]
    fourth = submit(api)
    position, starts_at, _ = place(api, fourth)
    assert {claim.job_id for claim in running} == {second["id"], third["id"]}
    assert position == 1
    assert starts_at is not None
    assert datetime.fromisoformat(starts_at) >= datetime.fromisoformat(fourth["created_at"])


@pytest.mark.parametrize("fresh", [0, 200])
def test_a_long_queue_is_looked_at_now_and_then(
    lite_api: httpx2.Client, monkeypatch: pytest.MonkeyPatch, fresh: int
) -> None:
    """Jobs that came since the last look have their place too; those before them may have left."""
    monkeypatch.setattr(api.jobs.queue_positions, "FRESH", fresh)
    monkeypatch.setattr(api.jobs.queue_positions, "KEEP_SECONDS", 3600.0)
    jobs = [submit(lite_api) for _ in range(3)]
    assert lite_api.post(f"/v1/jobs/{jobs[0]['id']}/cancel").status_code == 202
    listed = {job["id"]: job["queue_position"] for job in lite_api.get("/v1/jobs").json()["data"]}
    at_once = {jobs[0]["id"]: None, jobs[1]["id"]: 1, jobs[2]["id"]: 2}
    late = {jobs[0]["id"]: None, jobs[1]["id"]: 2, jobs[2]["id"]: 2}
    assert listed == (at_once if fresh else late)


@pytest.fixture
def full(tmp_path: Path, database_url: str, valkey: Valkey) -> Iterator[Running]:
    with running(quick_settings(tmp_path, database_url, valkey.url, max_queued_jobs=2)) as site:
        yield site


def test_a_full_queue_refuses_until_there_is_room(full: Running, worker_of: Callable[[Running], Worker]) -> None:
    worker = worker_of(full)
    with full.client() as api:
        first = submit(api)
        claim = worker.claim()
        assert api.post(f"/v1/jobs/{first['id']}/pause").status_code == 202
        worker.pause(claim)
        ids = [api.post("/v1/jobs", json=train_body(), headers={"Idempotency-Key": key}).json()["id"] for key in "ab"]
        refused = api.post("/v1/jobs", json=train_body())
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        problem = refused.json()
        assert problem["code"] == "queue_full"
        assert "2 jobs are queued" in problem["detail"]
        assert "ADDER_MAX_QUEUED_JOBS" in problem["detail"]
        again = api.post("/v1/jobs", json=train_body(), headers={"Idempotency-Key": "a"})
        assert (again.status_code, again.json()["id"]) == (200, ids[0])
        assert api.post("/v1/jobs?validate_only=true", json=train_body()).status_code == 200
        assert api.post(f"/v1/jobs/{first['id']}/resume").status_code == 202, "what was accepted once is not refused"
        assert api.post(f"/v1/jobs/{ids[0]}/cancel").status_code == 202
        assert api.post(f"/v1/jobs/{ids[0]}/retry").json()["code"] == "queue_full"
        assert api.post(f"/v1/jobs/{ids[1]}/cancel").status_code == 202
        assert api.post(f"/v1/jobs/{ids[0]}/retry").status_code == 201


def test_the_document_tells_of_it(lite_api: httpx2.Client) -> None:
    document = lite_api.get("/openapi.json").json()
    for path in ("/v1/jobs", "/v1/jobs/{id}/retry"):
        refused = document["paths"][path]["post"]["responses"]["429"]
        assert "queue_full" in refused["content"]["application/problem+json"]["examples"]
        assert "Retry-After" in refused["headers"]
    fields = document["components"]["schemas"]["Job"]["properties"]
    for name in ("queue_position", "estimated_start_at", "waiting_for"):
        assert fields[name]["description"]
    exact = document["components"]["schemas"]["ResourcesSpec"]["properties"]["exact"]
    assert exact["default"] is True
    assert exact["description"]


def test_a_dead_worker_counts_for_nothing(lite_api: httpx2.Client, lite_worker: Worker) -> None:
    lite_worker.heartbeat()
    job = submit(lite_api)
    assert place(lite_api, job)[2] is None
    with lite_worker.database.write(SERVICE) as session:
        recovery.forget_worker(session, lite_worker.id)
    assert place(lite_api, job)[2] == "there is no live worker"
