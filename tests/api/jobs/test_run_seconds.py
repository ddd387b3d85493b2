"""How long a job has run: in its attempts, not while it waits or is paused, and the same number wherever it is told."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy import update

from jobs.access.scope import DEFAULT
from jobs.clock import now_ms
from jobs.repository import attempts, lifecycle
from jobs.repository.attempts import Claim
from jobs.repository.outlook import forecast
from jobs.tables import Attempt, Job
from tests.api.attempt import Worker
from tests.support.specs import train_body, train_spec

HOUR_MS = 3_600_000


def submitted(api: httpx2.Client) -> str:
    return str(api.post("/v1/jobs", json=train_body()).json()["id"])


def ran(worker: Worker, claim: Claim, began_ms_ago: int, seconds: float | None) -> None:
    """Moves an attempt to where it began so long ago and took `seconds`; None: it still runs."""
    began = now_ms() - began_ms_ago
    ended = {} if seconds is None else {"ended_at": began + int(1000 * seconds)}
    mine = (Attempt.job_id == claim.job_id) & (Attempt.attempt == claim.attempt)
    with worker.database.write(DEFAULT) as session:
        session.execute(update(Attempt).where(mine).values(started_at=began, **ended))
        if claim.attempt == 1:
            session.execute(update(Job).where(Job.id == claim.job_id).values(started_at=began))


def paused_for_hours(api: httpx2.Client, worker: Worker, first: float = 10) -> Claim:
    """A job that ran for `first` seconds three hours ago, was paused for two hours and is at its second attempt."""
    job_id = submitted(api)
    claim = worker.claim()
    api.post(f"/v1/jobs/{job_id}/pause")
    worker.pause(claim)
    ran(worker, claim, 3 * HOUR_MS, first)
    api.post(f"/v1/jobs/{job_id}/resume")
    return worker.claim()


def test_the_time_that_a_job_waits_or_is_paused_is_not_its_running_time(api: httpx2.Client, worker: Worker) -> None:
    second = paused_for_hours(api, worker)
    worker.finish(second)
    ran(worker, second, HOUR_MS, 13)
    other = submitted(api)
    shown = api.get(f"/v1/jobs/{second.job_id}").json()
    listed = {job["id"]: job for job in api.get("/v1/jobs").json()["data"]}
    compared = api.get("/v1/compare", params={"job": [second.job_id, other]}).json()["jobs"]
    assert shown["run_seconds"] == 23
    assert [listed[id]["run_seconds"] for id in (second.job_id, other)] == [23, None]
    assert [job["seconds"] for job in compared] == [23, None]
    page = api.get(f"/jobs/{second.job_id}").text
    assert "<dt>Duration</dt><dd>23" in page
    assert "Duration" not in api.get(f"/jobs/{other}").text, "it has not run yet"


def test_an_attempt_that_runs_counts_up_to_now(api: httpx2.Client, worker: Worker) -> None:
    second = paused_for_hours(api, worker)
    ran(worker, second, 60_000, None)
    found = api.get(f"/v1/jobs/{second.job_id}").json()["run_seconds"]
    assert found == pytest.approx(70, abs=30), "10 s and a minute, not three hours"


def test_a_forecast_counts_what_earlier_attempts_have_done(api: httpx2.Client, worker: Worker) -> None:
    """Jobs like this one take 100 s: after attempts of 60 s and 10 s about 30 s are left of it."""
    first = submitted(api)
    ran(worker, done := worker.claim(), 10 * HOUR_MS, None)
    worker.finish(done)
    assert done.job_id == first
    ran(worker, done, 10 * HOUR_MS, 100)
    second = paused_for_hours(api, worker, 60)
    ran(worker, second, 10_000, None)
    with worker.database.read(DEFAULT) as session:
        running = forecast(session, HOUR_MS).running
    assert [job.seconds for job in running] == [pytest.approx(30, abs=29)]


def test_jobs_that_never_ran_have_no_running_time(worker: Worker) -> None:
    with worker.database.write(DEFAULT) as session:
        job_id = lifecycle.submit(session, train_spec()).job.id
        assert attempts.run_seconds(session, [job_id]) == {}
        assert attempts.run_seconds(session, []) == {}
