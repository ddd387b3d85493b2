"""A metric's points made few: what is kept, in which order, and which questions do not go together."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from jobs.repository import attempts
from tests.api.attempt import TIME, Worker
from tests.support.specs import train_body

POINTS = 20_000
SPIKE, DIP, GAP = 7_777, 12_345, 15_000


@pytest.fixture
def path(api: httpx2.Client, worker: Worker) -> str:
    """A job with a long noisy loss that has a spike, a dip and a gap, and a short accuracy."""
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    claim = worker.claim()
    values: dict[int, float | None] = {step: 1 + (step * 7919 % 100) / 1000 for step in range(1, POINTS + 1)}
    values |= {SPIKE: 9.0, DIP: -9.0, GAP: None}
    with worker.writing(claim) as (session, row):
        loss = [_point("train/loss", step, value) for step, value in values.items()]
        attempts.add_metrics(session, row, loss)
        attempts.add_metrics(session, row, [_point("val/accuracy", step, step / POINTS) for step in (5_000, 10_000)])
    return f"/v1/jobs/{job}/metrics"


def _point(name: str, step: int, value: float | None) -> dict[str, Any]:
    return {"name": name, "step": step, "epoch": 1 + step // 1000, "value": value, "time": TIME + step}


def test_extremes_keep_every_spike_gap_and_end(api: httpx2.Client, path: str) -> None:
    page = api.get(path, params={"name": ["train/loss", "val/accuracy"], "points": 200}).raise_for_status().json()
    assert page["thinned"] == ["train/loss"]
    assert not page["has_more"]
    loss = [point for point in page["data"] if point["name"] == "train/loss"]
    assert len(loss) <= 203, "two of each stretch, both ends, and the gap"
    assert {1, SPIKE, DIP, GAP, POINTS} <= {point["step"] for point in loss}
    assert [point["seq"] for point in page["data"]] == sorted({point["seq"] for point in page["data"]})
    every = {p["seq"]: p for p in api.get(path, params={"limit": 10_000}).json()["data"]}
    assert all(every.get(point["seq"], point) == point for point in page["data"]), "they are points of the job"
    assert [point["step"] for point in page["data"] if point["name"] == "val/accuracy"] == [5_000, 10_000]


def test_a_sample_has_the_first_point_of_each_stretch_and_the_last(api: httpx2.Client, path: str) -> None:
    query: dict[str, Any] = {"name": "train/loss", "points": 101, "thin": "sample"}
    steps = [point["step"] for point in api.get(path, params=query).raise_for_status().json()["data"]]
    assert steps == [*range(1, POINTS, 200), POINTS]


def test_a_mean_is_of_all_values_of_its_stretch(api: httpx2.Client, path: str) -> None:
    query: dict[str, Any] = {"name": "train/loss", "points": 201, "thin": "mean", "to_step": 2_000}
    data = api.get(path, params=query).raise_for_status().json()["data"]
    assert [point["step"] for point in data] == [*range(10, 2_001, 10)]
    values = [1 + (step * 7919 % 100) / 1000 for step in range(11, 21)]
    assert data[1]["value"] == pytest.approx(sum(values) / 10)


def test_a_window_has_its_own_detail(api: httpx2.Client, path: str) -> None:
    query: dict[str, Any] = {"name": "train/loss", "points": 200, "from_step": 7_700, "to_step": 7_800}
    page = api.get(path, params=query).raise_for_status().json()
    assert [point["step"] for point in page["data"]] == [*range(7_700, 7_801)]
    assert "thinned" not in page, "all of them are there"
    text = api.get(path, params=query, headers={"Accept": "text/csv"}).text
    assert len(text.splitlines()) == 102
    assert api.get(path, params=query | {"from_step": 30_000, "to_step": 40_000}).json()["data"] == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"points": 100}, "needs the names of metrics"),
        ({"points": 100, "name": "a", "limit": 5}, "leave out `limit`"),
        ({"thin": "mean"}, "goes with `points`"),
        ({"from_step": 3}, "goes with `points`"),
        ({"points": 5, "name": "a"}, "10"),
        ({"points": 100, "name": "a", "thin": "median"}, "sample"),
    ],
)
def test_what_does_not_go_together_is_told(lite_api: httpx2.Client, query: dict[str, Any], said: str) -> None:
    job = lite_api.post("/v1/jobs", json=train_body()).json()["id"]
    answer = lite_api.get(f"/v1/jobs/{job}/metrics", params=query)
    assert answer.status_code == 422
    assert said in answer.text
