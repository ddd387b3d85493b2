"""Benchmarks by REST: which are taken, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.api.attempt import Worker
from tests.api.models.test_integer_models import detail, floating, integer

__all__ = ["floating", "integer"]


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "benchmark", "model_id": model, **fields}


def test_a_benchmark_is_taken_with_its_defaults(api: httpx2.Client, floating: str, integer: str) -> None:
    for model in (floating, integer):
        job = api.post("/v1/jobs", json=body(model)).raise_for_status().json()
        spec = job["spec"]
        assert (spec["engines"], spec["batch_sizes"], spec["threads"], spec["twin"]) == (None, [1], 1, True)
        assert spec["resources"]["device"] == "cpu"
    spec = api.post("/v1/jobs", json=body(floating, resources={"memory_gb": 1})).raise_for_status().json()["spec"]
    assert spec["resources"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("fields", "pointer", "says"),
    [
        ({"engines": ["integer"]}, "/engines", "a float model: take torch or onnxruntime"),
        ({"resources": {"device": "cuda"}}, "/resources/device", "on the processor"),
        ({"threads": 4, "resources": {"threads": 2}}, "/threads", "at most resources.threads, 2"),
        ({"batch_sizes": [1, 1]}, "/batch_sizes", "each entry once"),
        ({"model_id": "model_01kb3m8z4k6wq0kdxnxhce5qkt"}, "/model_id", "no model"),
    ],
)
def test_what_does_not_fit_is_refused(
    api: httpx2.Client, floating: str, fields: dict[str, Any], pointer: str, says: str
) -> None:
    assert says in detail(api.post("/v1/jobs", json=body(floating) | fields), pointer)


def test_an_integer_model_is_not_run_by_torch(api: httpx2.Client, integer: str) -> None:
    said = detail(api.post("/v1/jobs", json=body(integer, engines=["torch"])), "/engines")
    assert "an integer model: take integer or onnxruntime" in said


def test_a_sweep_compares_by_latency(api: httpx2.Client, worker: Worker, floating: str) -> None:
    sweep = {"base": body(floating), "grid": {"engines": [["torch"], ["onnxruntime"]]}}
    spec = api.post("/v1/sweeps", json=sweep).raise_for_status().json()["spec"]
    assert (spec["objective"], spec["direction"]) == ("result.model.p50_ms", "minimize")
