"""The real process of a benchmark: its rows, what it leaves out and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.spec import SPEC
from jobs.states import FailureCode
from tests.support.attempts import Attempts
from worker import protocol
from worker.template.client import Template

BODY: dict[str, Any] = {"kind": "benchmark", "model_id": "model_1"}


def test_a_float_model_beside_its_twin(tmp_path: Path, digits_model: Path, template: Template) -> None:
    spec = SPEC.validate_python(BODY | {"batch_sizes": [2]})
    attempts = Attempts(tmp_path, spec, model=digits_model, template=template, confined=True)
    assert attempts.run() == 0, attempts.log
    done = attempts.said[-1]
    assert isinstance(done, protocol.Done)
    rows = done.result["rows"]
    forms = [(row["engine"], row["what"], row["precision"].partition(",")[0], row["batch"]) for row in rows]
    assert sorted(forms) == sorted(
        (engine, what, precision, batch)
        for batch in (2,)
        for engine, what, precision in (
            ("torch", "model", "fp32"), ("onnxruntime", "model", "fp32"),
            ("onnxruntime", "twin", "fp32"), ("onnxruntime", "twin", "int8"),
        )
    )  # fmt: skip
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch"] / row["p50_ms"])
    assert done.result["model"]["p50_ms"] == min(
        row["p50_ms"] for row in rows if row["what"] == "model" and row["batch"] == 2
    )
    phases = [
        one.progress["phase"] for one in attempts.said if isinstance(one, protocol.Progress) and "phase" in one.progress
    ]
    assert phases == ["calibrating", "measuring", "storing"]
    names = [one.name for one in attempts.said if isinstance(one, protocol.ArtifactReady)]
    assert names == ["benchmark.json", "report.md", "latency.png"]
    tried = json.loads((attempts.workdir / "benchmark.json").read_text())["rows"]
    int8 = [row for row in tried if row["precision"].startswith("int8") and row["batch"] == 2]
    assert len(int8) == 6
    assert min(row["p50_ms"] for row in int8) in [row["p50_ms"] for row in rows]


def test_more_threads_than_the_job_has_are_refused(tmp_path: Path, digits_model: Path, template: Template) -> None:
    attempts = Attempts(tmp_path, SPEC.validate_python(BODY | {"threads": 2}), model=digits_model, template=template)
    assert attempts.run() == 1
    failed = attempts.said[-1]
    assert isinstance(failed, protocol.Failed)
    assert (failed.code, "resources.threads to 2" in failed.message) == (FailureCode.BAD_DATA, True)
