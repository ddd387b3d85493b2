"""``adder benchmark`` and ``adder quantize``, and what a benchmark leaves on the terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adderclient import Client
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import MOMENT, job, model, timed

ROW = {"batch": 1, "threads": 1, "p99_ms": 0.02, "images_per_second": 9e4, "bytes": 64_000, "calls": 2000}
OWN = ROW | {"engine": "integer", "what": "model", "precision": "int8", "p50_ms": 0.01144}
TWIN = ROW | {"engine": "onnxruntime", "what": "twin", "precision": "fp32", "p50_ms": 0.0473}
RESULT: dict[str, Any] = {
    "model": OWN,
    "twin": TWIN,
    "processor": {"name": "AMD EPYC", "features": ["avx2"]},
    "timed": "from pixels to scores",
    "rows": [OWN, TWIN],
    "left_out": [{"engine": "onnxruntime", "what": "model", "reason": "it is not installed"}],
}


@pytest.fixture(autouse=True)
def a_model(service: Service) -> None:
    service.models["model_1"] = model("model_1", dataset="leaves@2")


def submitted(service: Service) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(service.seen("POST /v1/jobs")[-1][3])
    return spec


def test_a_benchmark_is_submitted_for_a_model(service: Service, adder: Adder) -> None:
    done = adder("benchmark", "model_1")
    assert (done.returncode, done.stdout) == (0, "job_0001\n")
    assert submitted(service) == {"kind": "benchmark", "model_id": "model_1"}
    assert "adder watch job_0001" in done.stderr
    chosen = ("--engines", "torch, onnxruntime", "--set", "twin=false", "--set", "batch_sizes=[1, 8]")
    assert adder("benchmark", "model_1", *chosen).returncode == 0
    own = {"engines": ["torch", "onnxruntime"], "twin": False, "batch_sizes": [1, 8]}
    assert submitted(service) == {"kind": "benchmark", "model_id": "model_1", **own}


def test_an_integer_model_is_made_on_the_models_own_dataset(service: Service, adder: Adder) -> None:
    assert adder("quantize", "model_1").returncode == 0
    assert submitted(service) == {"kind": "quantize", "model_id": "model_1", "dataset": {"name": "leaves@2"}}
    chosen = ("--bits", "4", "--finetune", "3", "--dataset", "digits", "--set", "finetune.lr=0.02")
    assert adder("quantize", "model_1", *chosen).returncode == 0
    own = {"dataset": {"name": "digits"}, "bits": 4, "finetune": {"epochs": 3, "lr": 0.02}}
    assert submitted(service) == {"kind": "quantize", "model_id": "model_1", **own}


def test_a_field_that_the_kind_has_not_is_refused(service: Service, adder: Adder) -> None:
    done = adder("benchmark", "model_1", "--set", "bits=4")
    assert done.returncode == 2
    assert "benchmark has no field bits" in done.stderr
    assert service.seen("POST") == []


def test_the_server_has_the_last_word(real: Client, adder: Adder) -> None:
    for command in ("benchmark", "quantize"):
        done = adder(command, "model_01kb3m8z4k6wq0kdxnxhce5qkt", "--url", real.url)
        assert done.returncode in (2, 3)
        assert "model_01kb3m8z4k6wq0kdxnxhce5qkt" in done.stderr
    wrong = adder("benchmark", "model_01kb3m8z4k6wq0kdxnxhce5qkt", "--engines", "tensorrt", "--url", real.url)
    assert wrong.returncode == 2
    assert "torch" in wrong.stderr, "what there is instead"


def test_what_it_found_is_a_table(service: Service, adder: Adder) -> None:
    spec = {"kind": "benchmark", "model_id": "model_1"}
    service.jobs["job_1"] = job("job_1", kind="benchmark", spec=spec)
    service.finish("job_1", result=RESULT)
    for command in ("watch", "show"):
        done = adder(command, "job_1")
        assert done.returncode == 0, done.stderr
        assert "model 0.0114 ms by integer, int8, twin 0.0473 ms by onnxruntime, fp32" in done.stdout
        assert "AMD EPYC" in done.stdout
        cells = [line.split() for line in done.stdout.splitlines() if line.startswith("twin")]
        assert cells == [["twin", "onnxruntime", "fp32", "1", "1", "0.0473", "ms", "0.02", "ms", "64.0", "kB"]]
        assert "model, onnxruntime: it is not installed" in done.stdout


def test_rows_of_another_version_are_shown_as_far_as_they_go(service: Service, adder: Adder) -> None:
    service.of_another_version = True
    service.jobs["job_1"] = job("job_1", kind="benchmark", spec={"kind": "benchmark", "model_id": "model_1"})
    service.finish("job_1", result={"model": 3, "rows": [None, {"what": "model"}], "left_out": ["x"]})
    done = adder("show", "job_1")
    assert done.returncode == 0, done.stderr
    assert "model" in done.stdout


def test_a_model_has_its_card(service: Service, client: Client, adder: Adder) -> None:
    def cells(name: str) -> list[str]:
        (line,) = [line for line in adder("show", "model_1").stdout.splitlines() if line.startswith(name)]
        return line.removeprefix(name).split("  ")

    assert [one.strip() for one in cells("additions") if one] == ["833,040", "416,520"]
    assert [one.strip() for one in cells("energy, fp32") if one] == ["0.75 µJ", "1.92 µJ"]
    assert cells("latency not measured") == [": adder benchmark model_1"]
    own = {"job_id": "job_7", "measured_at": MOMENT, "processor": "AMD EPYC"}
    twin = timed("onnxruntime", "int8, QDQ s8s8", 0.0446)
    service.models["model_1"]["latency"] = {**own, "model": timed(), "twin": twin}
    found = client.models.get("model_1").latency
    assert found is not None
    assert found.twin is not None
    assert (found.twin.engine, found.twin.p50_ms) == ("onnxruntime", 0.0446)
    own_cells = [one.strip() for one in cells("latency, measured") if one]
    assert own_cells == ["0.0114 ms by integer, int8", "0.0446 ms by onnxruntime, int8, QDQ s8s8"]
    assert "by job_7 on AMD EPYC" in adder("show", "model_1").stdout
