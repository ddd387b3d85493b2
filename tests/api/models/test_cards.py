"""What a model's document says of costs and of measured latency."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from jobs.repository import attempts
from jobs.states import Status
from tests.api.attempt import MANIFEST, Worker
from tests.api.http.test_unreadable_rows import set_column
from tests.api.models.test_integer_models import floating, integer, published

__all__ = ["floating", "integer"]

ROW = {"engine": "integer", "what": "model", "precision": "int8", "batch": 1, "threads": 1, "p50_ms": 0.0114}
ROW |= {"p99_ms": 0.02, "images_per_second": 9e4, "bytes": 64_000, "calls": 2000}
RESULT: dict[str, Any] = {
    "model": ROW,
    "twin": ROW | {"what": "twin", "engine": "onnxruntime", "p50_ms": 0.0446},
    "processor": {"name": "AMD EPYC", "features": []},
    "rows": [],
    "left_out": [],
}


def benchmarked(api: httpx2.Client, worker: Worker, model: str, result: dict[str, Any] = RESULT, **labels: str) -> str:
    """The id of a finished benchmark of a model."""
    body = {"kind": "benchmark", "model_id": model, "labels": labels}
    api.post("/v1/jobs", json=body).raise_for_status()
    claim = worker.claim()
    with worker.writing(claim) as (session, job):
        job.result = result
        attempts.finish(session, job, Status.SUCCEEDED, "It ended.", None)
    return str(claim.job_id)


def model_of(api: httpx2.Client, model: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/v1/models/{model}").raise_for_status().json()
    return found


def test_costs_stand_beside_those_of_the_twin(api: httpx2.Client, floating: str, integer: str) -> None:
    found = model_of(api, floating)
    assert found["costs"]["operations"] == {"add": 833_040, "mul": 0, "xnor": 0}
    assert found["twin_costs"]["operations"] == {"add": 416_520, "mul": 416_520, "xnor": 0}
    assert (found["costs"]["data_type"], found["costs"]["parameter_bytes"]) == ("fp32", 4 * 61_942)
    assert found["costs"]["energy_joules"] == pytest.approx(833_040 * 0.9e-12)
    numbers = model_of(api, integer)
    assert (numbers["costs"]["data_type"], numbers["twin_costs"]["data_type"]) == ("int8", "int8")
    assert numbers["twin_costs"]["energy_joules"] == pytest.approx(416_520 * 0.23e-12)
    assert "costs" not in api.get("/v1/models").json()["data"][0], "the list stays short"


def test_latency_is_that_of_the_newest_benchmark_of_this_model(
    api: httpx2.Client, worker: Worker, floating: str, integer: str
) -> None:
    assert model_of(api, floating)["latency"] is None
    benchmarked(api, worker, floating, RESULT | {"model": ROW | {"p50_ms": 5.0}})
    newest = benchmarked(api, worker, floating)
    benchmarked(api, worker, integer, RESULT | {"model": ROW | {"p50_ms": 7.0}}, about=floating)
    api.post("/v1/jobs", json={"kind": "benchmark", "model_id": floating}).raise_for_status()  # waits
    found = model_of(api, floating)["latency"]
    assert (found["job_id"], found["processor"]) == (newest, "AMD EPYC")
    assert (found["model"]["p50_ms"], found["twin"]["p50_ms"]) == (0.0114, 0.0446)
    assert found["measured_at"] == api.get(f"/v1/jobs/{newest}").json()["finished_at"]
    assert model_of(api, integer)["latency"]["model"]["p50_ms"] == 7.0


def test_a_result_of_another_version_is_read_as_far_as_it_goes(
    api: httpx2.Client, worker: Worker, floating: str
) -> None:
    job = benchmarked(api, worker, floating, {"model": {"p50_ms": "fast"}, "processor": "x"})
    found = model_of(api, floating)["latency"]
    assert (found["job_id"], found["model"], found["twin"], found["processor"]) == (job, None, None, None)
    assert api.get(f"/models/{floating}").status_code == 200
    set_column(worker.database, "jobs", "result", job, '{"a": ' * 300 + "1" + "}" * 300)
    assert model_of(api, floating)["latency"] is None
    set_column(worker.database, "jobs", "spec", job, f'["{floating}"]')
    assert model_of(api, floating)["latency"] is None


def test_the_page_offers_what_there_is(api: httpx2.Client, worker: Worker, floating: str, integer: str) -> None:
    binary = published(worker, network=MANIFEST["network"] | {"method": "bnn", "first_last": "conv"})
    for model, formats in (
        (floating, {"safetensors", "manifest"}),  # no inference process makes ONNX here
        (integer, {"adder", "manifest"}),
        (binary, {"safetensors", "manifest"}),
    ):
        page = api.get(f"/models/{model}").text
        assert {part.split('"')[0] for part in page.split("download?format=")[1:]} == formats
        assert f"adder benchmark {model}" in page
