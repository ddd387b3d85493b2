"""The study: its plans, its statistics, and a tiny one on a real service that is started twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from adderclient import Client
from benchmarks import study

PLAN: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "holdout": 0.2,
    "arch": "lenet5_bn",
    "search": {"epochs": 1, "seeds": [7]},
    "final": {"epochs": 1, "seeds": [0, 1]},
    "settings": {"adder": {"as published": {}}, "conv": {"as published": {}}},
}


def planned(tmp_path: Path, **changes: Any) -> study.Plan:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN | changes))
    return study.Plan.read(path)


@pytest.mark.parametrize("path", sorted(study.PLANS.glob("*.json")), ids=lambda path: path.stem)
def test_the_plans_are_fair_and_their_specs_valid(path: Path) -> None:
    from jobs.sweeps.spec import SweepSpec

    plan = study.Plan.read(path)
    for method, settings in plan.settings.items():
        for setting in settings:
            SweepSpec.model_validate(plan.sweep(method, setting, "search"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"search": {"epochs": 1, "seeds": [1]}}, r"seeds \[1\] would choose"),
        ({"settings": {"adder": {"a": {}, "b": {}}, "conv": {"a": {}}}}, "as many settings"),
        ({"settings": {"adder": {"a": {}}}}, "adder and conv"),
        ({"final": {"epochs": 1, "seeds": [0]}}, "two or more"),
    ],
)
def test_an_unfair_plan_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        planned(tmp_path, **changes)


def test_the_bound_is_student_t_one_sided() -> None:
    found = study.verdict({0: 0.90, 1: 0.91, 2: 0.90, 9: 0.1}, {0: 0.91, 1: 0.91, 2: 0.92})
    assert found.pairs == 3
    assert found.mean == pytest.approx(0.01)
    assert found.bound == pytest.approx(0.01 + 2.919986 * 0.01 / 3**0.5, rel=1e-5)  # t(0.95; 2) = 2.920
    assert "below +2.69 with 95% confidence" in found.sentence(6)
    assert "6 settings" in found.sentence(6)


@pytest.mark.long("starts a service twice and trains six networks")
def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    data = tmp_path / "data"
    with study.service(data, "digits") as url, Client(url) as client:
        first = study.run(plan, client, look=False)
    assert {row["stage"] for row in first} == {"search", "final"}
    with study.service(data, "digits") as url, Client(url) as client:
        rows = study.run(plan, client, look=True)
        jobs = list(client.jobs.iterate())
    assert len(jobs) == 2 + 4 + 4  # searched, trained, looked at: nothing was done twice
    assert [row for row in rows if row["stage"] in ("search", "final")] == first
    looked = [row["result"] for row in rows if row["stage"] == "test"]
    assert len(looked) == 4
    assert all(one["unseen"] is True and one["images"] == 360 for one in looked)
    assert all(row["result"]["validation"]["images"] == 287 for row in first)
    written = study.write(plan, rows, tmp_path).read_text().splitlines()
    assert len(written) == len(rows)
    assert {"device", "versions", "commit", "spec"} <= json.loads(written[0]).keys()
