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
    assert scale("wholeTicks", 0, 2, 8) == [0, 1, 2]
    assert scale("logTicks", 0.5, 3000) == [1, 10, 100, 1000]
    assert scale("padded", 3, 3, False) == pytest.approx([2.7, 3.3])
    assert scale("padded", 0, 0, False) == [-1, 1]
    assert [scale("brief", value) for value in (0, 0.25, 1500, 20_000, 1.5e6, 1e-5)] == [
        "0",
        "0.25",
        "1,500",
        "20k",
        "1.5M",
        "1e-5",
    ]


def test_thinning_keeps_extremes_gaps_and_ends(scale: Callable[..., Any]) -> None:
    points: list[dict[str, Any]] = [{"step": n, "value": 1.0} for n in range(5000)]
    points[1234]["value"] = 99.0
    points[2345]["value"] = -99.0
    points[3456]["value"] = None
    thin = scale("thin", points, 100)
    assert len(thin) <= 101  # a gap may come on top
    assert [point["step"] for point in thin] == sorted({point["step"] for point in thin})
    assert {0, 1234, 2345, 3456, 4999} <= {point["step"] for point in thin}
    assert scale("thin", points[:100], 100) == points[:100]


def test_the_nearest_point_has_a_value(scale: Callable[..., Any]) -> None:
    points = [{"step": 10, "value": 1}, {"step": 20, "value": None}, {"step": 40, "value": 2}]
    assert [scale("nearest", points, step) for step in (0, 19, 26, 31, 99)] == [0, 0, 2, 2, 2]
    assert scale("nearest", [], 3) == -1
    assert [scale("lastAt", points, step) for step in (9, 10, 39, 40)] == [-1, 0, 1, 2]
