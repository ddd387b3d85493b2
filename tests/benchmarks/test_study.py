"""The study: its plans, its statistics, and a tiny one on a real service that is started twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adderclient import Client
from benchmarks import study
from jobs.spec import SUBMITTED_SPEC
from jobs.sweeps.spec import SweepSpec

PLAN: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "holdout": 0.2,
    "arch": "lenet5_bn",
    "search": {"epochs": 1, "seeds": [7]},
    "final": {"epochs": 1, "seeds": [0, 1]},
    "settings": {"adder": {"as published": {}}, "conv": {"as published": {}}},
}

ADDERS_OWN = {
    *("optimizer.eta", "optimizer.filter_lr", "optimizer.filter_weight_decay", "optimizer.clip_input_gradient"),
    "model.init_scale",
}


def planned(tmp_path: Path, **changes: Any) -> study.Plan:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN | changes))
    return study.Plan.read(path)


def resolved(plan: study.Plan, method: str, setting: str) -> dict[str, Any]:
    """The spec as the service would store it, by dotted field."""
    spec = SUBMITTED_SPEC.validate_python(plan.spec(method, setting, "final"))
    return dict(leaves(spec.model_dump(mode="json"), ""))


def leaves(document: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.mark.parametrize("path", sorted(study.PLANS.glob("*.json")), ids=lambda path: path.stem)
def test_the_plans_are_fair_and_their_specs_valid(path: Path) -> None:
    """Each setting is a spec that the service takes, and is one of its own: no default written out."""
    plan = study.Plan.read(path)
    for method, settings in plan.settings.items():
        found: dict[str, str] = {}
        for setting in settings:
            for stage in plan.stages:
                SweepSpec.model_validate(plan.sweep(method, setting, stage))
                SUBMITTED_SPEC.validate_python(plan.spec(method, setting, stage))
            same = found.setdefault(json.dumps(resolved(plan, method, setting)), setting)
            assert same == setting, f"{method}: {setting} is {same} again"


def test_the_knobs_are_turned_one_at_a_time() -> None:
    plan = study.Plan.read(study.PLANS / "knobs.json")
    turned: dict[str, set[str]] = {}
    for method, settings in plan.settings.items():
        published = resolved(plan, method, "as published")
        for setting in settings:
            spec = resolved(plan, method, setting)
            turned[setting] = {name for name, value in spec.items() if published[name] != value}
            assert len(turned[setting]) == (setting != "as published"), setting
        assert set().union(*(turned[setting] for setting in settings)) >= {
            *("optimizer.lr", "optimizer.warmup_epochs", "model.batchnorm_momentum", "batch_size", "augment"),
            *(ADDERS_OWN if method == "adder" else ()),
        }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"search": {"epochs": 1, "seeds": [1]}}, r"seeds \[1\] would choose"),
        ({"settings": {"adder": {"a": {}, "b": {}}, "conv": {"a": {}}}}, "as many settings"),
        ({"settings": {"adder": {"a": {}}}}, "adder and conv"),
        (
            {"search": None, "settings": {"adder": {"a": {}, "b": {"seed": 5}}, "conv": {"a": {}, "b": {"seed": 5}}}},
            "without a search each method has one setting",
        ),
        (
            {"settings": {"adder": {"a": {}}, "conv": {"b": {"optimizer": {"filter_lr": 0.1}}}}},
            r"conv, 'b': optimizer\.filter_lr is for adder layers, and the method is conv",
        ),
        (
            {"settings": {"adder": {"a": {"optimizer": {"warmup_epochs": 1}}}, "conv": {"a": {}}}},
            r"adder, 'a': optimizer\.warmup_epochs must be less than epochs \(1\)",
        ),
    ],
)
def test_an_unfair_plan_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        planned(tmp_path, **changes)


def test_a_single_seed_is_no_reason_to_look(tmp_path: Path) -> None:
    plan = planned(tmp_path, search=None, final={"epochs": 1, "seeds": [0]})
    with pytest.raises(ValueError, match="one seed has no spread"):
        study.run(plan, Client("http://127.0.0.1:1"), look=True)


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
