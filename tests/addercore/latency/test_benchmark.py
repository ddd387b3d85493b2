"""A benchmark's times, what it leaves out, and what it refuses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.config import BenchmarkConfig, InvalidConfig, QuantizeConfig
from addercore.errors import Stopped
from addercore.io import encode
from addercore.latency import benchmark, run, timing, twin
from addercore.latency.timing import interleaved, rank
from addercore.quant.conversion import MODEL, convert
from addercore.train import Callbacks
from tests.addercore.quant.models import model_of


@pytest.fixture(scope="module")
def integers(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("integers")
    spec = {"model_id": "m", "dataset": {"name": "digits"}, "calibration_images": 64, "bits": 4}
    convert(QuantizeConfig.from_dict(spec), digits_model, folder)
    return folder / MODEL


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SECONDS_A_ROW", 0.05)


def config(**fields: Any) -> BenchmarkConfig:
    return BenchmarkConfig.from_dict({"model_id": "model_1", **fields})


def test_times_are_those_of_the_calls() -> None:
    parts: list[float] = []
    calls = {"slow": lambda: time.sleep(0.004), "quick": lambda: time.sleep(0.001)}
    samples = interleaved(calls, 0.1, parts.append, rest=0.0)
    assert 0.004 <= rank(samples["slow"], 0.5) < 0.02
    assert 0.001 <= rank(samples["quick"], 0.5) < rank(samples["slow"], 0.5)
    assert (parts[-1], parts == sorted(parts)) == (1.0, True)


def test_a_call_that_takes_too_long_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LONGEST", 0.01)
    made: list[int] = []

    def slow() -> None:
        made.append(1)
        time.sleep(0.02)

    assert interleaved({"slow": slow}, 1.0, lambda _: None) == {"slow": []}
    assert len(made) == 1


def test_slow_calls_are_bounded_in_time() -> None:
    samples = interleaved({"slow": lambda: time.sleep(0.05)}, 0.01, lambda _: None, rest=0.0)["slow"]
    assert len(samples) == timing.FEWEST_ROUNDS


def test_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 201)]
    assert (rank(values, 0.5), rank(values, 0.99), rank([3.0, 1.0], 0.99)) == (100.0, 198.0, 3.0)


def test_an_integer_model_by_both_engines(integers: Path, tmp_path: Path) -> None:
    made = benchmark(config(), integers, tmp_path)
    rows = {(row["engine"], row["what"], row["precision"].partition(",")[0]): row for row in made.result["rows"]}
    assert set(rows) == {
        ("integer", "model", "int4"), ("onnxruntime", "model", "int4"),
        ("onnxruntime", "twin", "fp32"), ("onnxruntime", "twin", "int8"),
    }  # fmt: skip
    assert rows["integer", "model", "int4"]["bytes"] == integers.stat().st_size
    assert made.result["left_out"] == []
    assert made.result["processor"]["name"]
    text = (tmp_path / "report.md").read_text()
    assert text.count("| model |") == text.count("| twin |") == 2
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_the_measured_calls_give_the_models_scores(integers: Path, digits_model: Path, tmp_path: Path) -> None:
    from addercore.latency.subjects import Gathering

    images = np.random.default_rng(3).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)
    for path, tolerance in ((integers, 0.0), (digits_model, 1e-3)):
        own, onnx = (one.prepare(images)() for one in Gathering(config(twin=False), path, tmp_path).found)
        np.testing.assert_allclose(np.asarray(own), np.asarray(onnx)[0], atol=tolerance, rtol=tolerance)


def test_the_twin_of_a_network_of_ones_own(tmp_path: Path) -> None:
    model = model_of("custom")
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode(model.module.state_dict(), model.manifest))
    rows = benchmark(config(engines=["torch"]), path, tmp_path).result["rows"]
    assert [(row["engine"], row["what"]) for row in rows] == [
        ("torch", "model"), ("onnxruntime", "twin"), ("onnxruntime", "twin"),
    ]  # fmt: skip


def test_without_onnxruntime_the_rest_is_measured(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin, "available", lambda: None)
    result = benchmark(config(), digits_model, tmp_path).result
    assert [(row["engine"], row["what"]) for row in result["rows"]] == [("torch", "model")]
    assert result["twin"] is None
    assert [one["what"] for one in result["left_out"]] == ["model", "twin"]
    assert all("adderworks[onnx]" in one["reason"] for one in result["left_out"])
    with pytest.raises(InvalidConfig, match=r"adderworks\[onnx\]"):
        benchmark(config(engines=["onnxruntime"]), digits_model, tmp_path)


def test_an_engine_of_the_other_kind_of_model_is_refused(integers: Path, digits_model: Path, tmp_path: Path) -> None:
    for path, engine in ((integers, "torch"), (digits_model, "integer")):
        with pytest.raises(InvalidConfig, match=f"names {engine}, but the model is"):
            benchmark(config(engines=[engine]), path, tmp_path)


def test_it_stops_when_asked(digits_model: Path, tmp_path: Path) -> None:
    class Stopping(Callbacks):
        def should_stop(self) -> bool:
            return True

    with pytest.raises(Stopped):
        benchmark(config(twin=False), digits_model, tmp_path, callbacks=Stopping())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"engines": ["torch", "torch"]}, "each entry once"),
        ({"batch_sizes": []}, "batch_sizes"),
        ({"batch_sizes": [0]}, "batch_sizes"),
        ({"threads": 0}, "threads"),
        ({"engines": ["tensorrt"]}, "engines"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidConfig, match=reason):
        config(**fields)
