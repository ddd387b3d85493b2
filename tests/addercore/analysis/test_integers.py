"""The recipes `integer` and `latency`: what they say of given numbers. Nothing is trained or timed here."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest

from addercore.analysis import cycles, integers
from addercore.analysis.findings import Finding
from addercore.analysis.statistics import changed_answers
from addercore.analysis.timing import TIMES
from addercore.config import AnalyzeConfig
from addercore.quant import changes

CHIP = {"name": "AMD EPYC", "features": ["avx2"]}


def test_the_interval_counts_only_images_that_changed() -> None:
    labels = np.array([0, 1, 2, 3, 4])
    before, after = np.array([0, 1, 2, 0, 0]), np.array([0, 1, 0, 3, 1])
    assert changes(before, after, labels) == (1, 1)
    found = changed_answers(5, 3, 1000)
    assert found.mean == pytest.approx(-0.002)
    assert found.margin == pytest.approx(1.96 * sqrt(8 - 4 / 1000) / 1000, rel=1e-4)
    assert changed_answers(0, 0, 10).margin == 0
    each = np.array([-1.0] * 5 + [1.0] * 3 + [0.0] * 992)
    assert found.se == pytest.approx(each.std() / sqrt(1000))


def time(what: str, engine: str, precision: str, p50_ms: float) -> dict[str, Any]:
    return {"what": what, "engine": engine, "precision": precision, "p50_ms": p50_ms, "bytes": 1, "batch": 1}


def times(own: float, twin: float = 0.02) -> list[dict[str, Any]]:
    forms = [time(f"adder-{one.key}", "integer", one.key, own) for one in integers.variants_of("adder")]
    return [
        *forms,
        time("adder-float", "torch", "fp32", 0.5),
        time("conv-float", "torch", "fp32", 0.4),
        time("conv-int8", "integer", "int8", 0.03),
        time("twin", "onnxruntime", "fp32", twin),
        time("twin", "onnxruntime", "int8, QDQ s8s8", 0.05),
    ]


def reported(own: float = 0.01, lost: int = 1, accuracy: float = 0.95, twin: float = 0.95) -> Any:
    """The report of two seeds in which each integer form lost so many answers and gained none."""
    config = AnalyzeConfig.from_dict({"recipe": "integer", "seeds": [0, 1]})
    found = []
    for run in config.runs():
        share = accuracy if run.row == "adder" else twin
        forms: dict[str, Any] = {"float": {"accuracy": share, "bytes": 250_000}}
        for one in integers.variants_of(run.row):
            forms[one.key] = {"accuracy": share - lost / 360, "bytes": 64_000, "lost": lost, "gained": 0}
        facts = {"metrics": {"val/accuracy": share}, "forms": forms, "images": 360}
        found.append(Finding(run.name, run.row, run.seed, facts))
    found.append(Finding(TIMES, TIMES, 0, {"times": {"lenet5_bn": times(own)}, "processor": CHIP}))
    return integers.report(config, found)


def test_every_form_has_its_row() -> None:
    report = reported()
    rows = {row["row"]: row for row in report.table.rows}
    assert len(rows) == 9 + 2 + 2
    four = rows["adder-int4-tuned"]
    assert (four["net"], four["ms"], four["mul"]) == (-2, 0.01, 0)
    assert four["difference"] == pytest.approx(-2 / 720)
    assert rows["adder-float"]["energy"] == pytest.approx(833_040 * 0.9e-6)
    assert rows["conv-int8"]["energy"] == pytest.approx(416_520 * 0.23e-6)
    assert "accuracy" not in rows["twin-fp32"]
    assert "AMD EPYC (avx2)" in report.caption
    assert report.verdict.comparisons == 9


@pytest.mark.parametrize(
    ("options", "holds", "says"),
    [
        ({}, True, "0.50 of the time of the fastest CNN (fp32, ONNX Runtime)"),
        ({"own": 0.0201}, None, "1.00 of the time"),
        ({"own": 0.04}, False, "2.00 of the time"),
        ({"lost": 3}, None, "perhaps within 0.5"),
        ({"lost": 20}, False, "not within 1"),
        ({"accuracy": 0.1, "twin": 0.1}, False, "Nothing has learnt"),
        ({"accuracy": 0.1}, False, "AdderNet has not learnt"),
    ],
)
def test_the_verdict_follows_accuracy_and_time(options: dict[str, Any], holds: bool | None, says: str) -> None:
    verdict = reported(**options).verdict
    assert verdict.holds is holds
    assert says in verdict.text


@pytest.mark.parametrize(("own", "holds"), [(0.01, True), (0.0301, None), (0.5, False)])
def test_the_cycle_model_stands_beside_time(own: float, holds: bool | None) -> None:
    config = AnalyzeConfig.from_dict({"recipe": "latency", "archs": ["lenet5_bn"]})
    counted = {"adder": (833_040, 0, 1_666_080), "conv": (416_520, 416_520, 2_499_120)}
    found = [
        Finding(run.name, run.row, 0, {"arch": "lenet5_bn", "method": run.config.model.method}) for run in config.runs()
    ]
    for one in found:
        one.facts.update(zip(("add", "mul", "cycles"), counted[one.facts["method"]], strict=True))
    rows = [
        time("lenet5_bn-adder-int8", "integer", "int8", own),
        time("lenet5_bn-conv-int8", "integer", "int8", 0.03),
        time("twin", "onnxruntime", "int8, QDQ s8s8", 0.02),
    ]
    found.append(Finding(TIMES, TIMES, 0, {"times": {"lenet5_bn": rows}, "processor": CHIP}))
    report = cycles.report(config, found)
    adder = report.table.rows[0]
    assert (adder["cycles"], adder["cycles_ratio"]) == (1_666_080, pytest.approx(2 / 3))
    assert adder["ratio"] == pytest.approx(own / 0.03), "by the same engine"
    assert adder["fastest_ratio"] == pytest.approx(own / 0.02)
    assert "ratio" not in report.table.rows[1]
    assert report.verdict.holds is holds
