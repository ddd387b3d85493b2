"""The charts' arithmetic, run where it runs: in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.dashboard import Visit


@pytest.fixture
def scale(visit: Callable[..., Visit]) -> Callable[..., Any]:
    page = visit("/models").page

    def call(name: str, *arguments: Any) -> Any:
        script = "async ([name, args]) => (await import('/static/scale.js'))[name](...args)"
        return page.evaluate(script, [name, list(arguments)])

    return call


def test_the_arithmetic_of_axes(scale: Callable[..., Any]) -> None:
    assert scale("ticks", 0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]
    assert scale("ticks", 0.05, 2.31, 4) == [1, 2]
    assert scale("ticks", 5, 5, 4) == [5]
    assert scale("logTicks", 0.5, 3000) == [1, 10, 100, 1000]
    assert scale("axis", "linear", [3, 3])["low"] == pytest.approx(2.7)
    assert scale("axis", "linear", [0, None])["high"] == 1
    assert scale("axis", "log", [0, -1]) is None
    assert scale("axis", "log", [1, 1000])["ticks"] == [1, 10, 100, 1000]
    assert scale("axis", "linear", [0.0, 1.0], {"share": True})["high"] == 1
    assert [scale("brief", value) for value in (0, 0.25, 1500, 20_000, 1.5e6, 1e-5)] == [
        "0",
        "0.25",
        "1,500",
        "20k",
        "1.5M",
        "1e-5",
    ]


def test_an_axis_of_errors_tells_94_from_96_percent(visit: Callable[..., Visit]) -> None:
    script = """async ([kind]) => {
      const { axis } = await import('/static/scale.js');
      const { place, low, high, ticks } = axis(kind, [0.1, 0.94, 0.96, 1]);
      return [(place(0.96) - place(0.94)) / (high - low), ticks];
    }"""
    page = visit("/models").page
    linear, _ = page.evaluate(script, ["linear"])
    errors, ticks = page.evaluate(script, ["errors"])
    assert linear < 0.02
    assert errors > 0.09
    assert ticks == [0, 0.2, 0.5, 0.8, 0.9, 0.95, 1]


@pytest.fixture
def series(visit: Callable[..., Visit]) -> Callable[..., Any]:
    page = visit("/models").page
    script = "async ([name, args]) => (await import('/static/series.js'))[name](...args)"
    return lambda name, *arguments: page.evaluate(script, [name, list(arguments)])


def test_x_is_a_step_an_epoch_or_a_time(series: Callable[..., Any]) -> None:
    points = [{"step": step, "epoch": 1 + (step - 1) // 10, "time": 5000 + 100 * step} for step in (1, 10, 15, 20)]
    job = {"perEpoch": series("stepsPerEpoch", points), "begin": 5100}
    assert job["perEpoch"] == 10
    assert [point["x"] for point in series("placed", points, "epoch", job)] == [0.1, 1, 1.5, 2]
    assert [point["x"] for point in series("placed", points, "time", job)] == pytest.approx([0, 0.9, 1.4, 1.9])
    assert series("unitOfTime", 7200) == {"seconds": 3600, "name": "hours"}


def test_smoothing_keeps_a_constant_and_averages_noise(series: Callable[..., Any]) -> None:
    flat = [{"x": x, "value": 3} for x in range(50)]
    assert [point["value"] for point in series("smooth", flat, 0.9)] == pytest.approx([3] * 50)
    noise = [{"x": x, "value": x % 2} for x in range(200)]
    assert series("smooth", noise, 0.99)[-1]["value"] == pytest.approx(0.5, abs=0.02)
    assert (
        series("smooth", [{"x": 0, "value": 1}, {"x": 1, "value": None}, {"x": 2, "value": 1}], 0.5)[1]["value"] is None
    )
    assert series("smooth", noise, 0) == noise


def test_a_band_is_the_mean_and_the_deviation_of_its_curves(series: Callable[..., Any]) -> None:
    one = [{"x": 0, "value": 1}, {"x": 2, "value": 3}]
    other = [{"x": 0, "value": 3}, {"x": 1, "value": 4}, {"x": 2, "value": 5}, {"x": 3, "value": 6}]
    first, middle, _, alone = series("band", [one, other])
    assert (first["value"], middle["value"]) == (2, 3)
    assert middle["high"] - middle["value"] == pytest.approx(2**0.5), "of 2 and 4"
    assert alone == {"x": 3, "value": None}, "one curve has no deviation"


def test_a_table_of_points_is_csv(series: Callable[..., Any]) -> None:
    points = [
        {"x": 0.5, "step": 5, "time": 1_700_000_000_000, "value": 1.25},
        {"x": 1, "value": 2, "low": 1, "high": 3},
    ]
    text = series("csv", [{"name": '=a,"b"', "points": points}], "epoch")
    assert text.split("\r\n") == [
        "curve,x_epoch,step,time,value,low,high",
        '"\'=a,""b""",0.5,5,2023-11-14T22:13:20.000Z,1.25,,',
        '"\'=a,""b""",1,,,2,1,3',
        "",
    ]


def test_thinning_keeps_extremes_gaps_and_ends(scale: Callable[..., Any]) -> None:
    points: list[dict[str, Any]] = [{"x": n, "value": 1.0} for n in range(5000)]
    points[1234]["value"] = 99.0
    points[2345]["value"] = -99.0
    points[3456]["value"] = None
    thin = scale("thin", points, 100)
    assert len(thin) <= 101  # a gap may come on top
    assert [point["x"] for point in thin] == sorted({point["x"] for point in thin})
    assert {0, 1234, 2345, 3456, 4999} <= {point["x"] for point in thin}
    assert scale("thin", points[:100], 100) == points[:100]


def test_the_nearest_point_has_a_value(scale: Callable[..., Any]) -> None:
    points = [{"x": 10, "value": 1}, {"x": 20, "value": None}, {"x": 40, "value": 2}]
    assert [scale("nearest", points, step) for step in (0, 19, 26, 31, 99)] == [0, 0, 2, 2, 2]
    assert scale("nearest", [], 3) == -1
    assert [scale("lastAt", points, step) for step in (9, 10, 39, 40)] == [-1, 0, 1, 2]
