"""What a job uses of CPU, memory and GPU: among its metrics by name, and on its page."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from jobs.system_metrics import NAMES, Sample
from tests.api.attempt import Worker
from tests.api.dashboard import Dashboard, Visit
from tests.support.specs import train_body

Open = Callable[..., Visit]
GB = 10**9
SAMPLES = [Sample(5000 * (n + 1), 1.5 + n / 10, (n + 1) * GB) for n in range(4)]


def test_samples_are_metrics_that_are_read_by_name(api: httpx2.Client, worker: Worker) -> None:
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    claim = worker.claim()
    worker.metrics(claim, 1, 3)
    worker.sampled(claim, SAMPLES)
    worker.metrics(claim, 4, 5)
    plain = api.get(f"/v1/jobs/{job}/metrics").json()["data"]
    assert [point["name"] for point in plain] == ["train/loss"] * 5
    table = api.get(f"/v1/jobs/{job}/metrics", headers={"Accept": "text/csv"}).text
    assert "system/" not in table
    found = api.get(f"/v1/jobs/{job}/metrics", params={"name": ["system/cpu"]}).json()["data"]
    assert [(point["step"], point["epoch"], point["value"]) for point in found] == [
        (5, 0, 1.5), (10, 0, 1.6), (15, 0, 1.7), (20, 0, 1.8),
    ]  # fmt: skip
    both = [*(("name", name) for name in NAMES), ("points", "10")]
    assert len(api.get(f"/v1/jobs/{job}/metrics", params=both).json()["data"]) == 8
    worker.finish(claim)
    stream = api.get(f"/v1/jobs/{job}/stream", headers={"Accept": "text/event-stream"}).text
    assert stream.count("event: metric") == 5
    assert "system/" not in stream
    other = api.post("/v1/jobs", json=train_body()).json()["id"]
    compared = api.get(f"/compare?job={job}&job={other}").text
    assert "train/loss" in compared
    assert "system/" not in compared


def test_the_page_draws_what_the_job_uses_while_it_runs(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    claim = worker.start()
    page = visit(f"/jobs/{claim.job_id}").page
    assert page.locator("#system").is_hidden(), "no sample yet"
    worker.sampled(claim, SAMPLES[:2])
    memory = page.get_by_role("img", name="Memory. At 5.000 seconds: system/memory_bytes 2.000.")
    memory.wait_for()
    worker.sampled(claim, SAMPLES[2:])
    page.get_by_role("img", name="Memory. At 15.00 seconds: system/memory_bytes 4.000.").wait_for()
    page.get_by_role("img", name="Processors in use. At 15.00 seconds: system/cpu 1.800.").wait_for()
    assert page.locator("#system .curve").count() == 2, "there is no GPU"
    worker.succeed(claim)
    page = visit(f"/jobs/{claim.job_id}").page
    page.get_by_role("img", name="Memory. At 15.00 seconds: system/memory_bytes 4.000.").wait_for()


def test_jobs_without_curves_have_it_too(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    job = worker.submit_evaluation()
    claim = worker.claim()
    worker.sampled(claim, SAMPLES)
    worker.succeed(claim, accuracy=0.9)
    page = visit(f"/jobs/{job}").page
    page.get_by_role("img", name="Memory. At 15.00 seconds: system/memory_bytes 4.000.").wait_for()
    assert "zoom" in page.inner_text("#curves-hint")
