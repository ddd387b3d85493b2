"""What a sweep compares its jobs by, which jobs are the same, and every kind of job as a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.database import Database
from jobs.settings import Settings
from jobs.states import Status, SweepStatus
from jobs.store import store_of
from jobs.sweeps import planning, search
from jobs.sweeps.objectives import direction_of, paths, value_at, wrong_objective
from jobs.sweeps.planning import InvalidSweep
from jobs.sweeps.search import Known
from tests.api.attempt import Worker
from tests.jobs.sweeping import LR, create, drive, finish, sweep_spec, trials

METHODS = {"type": "categorical", "choices": ["adder", "conv"]}
STEPS = {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}


def refused(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidSweep) as caught:
        planning.plan(sweep_spec(**changes), 500)
    return dict(caught.value.errors)


@pytest.mark.parametrize(
    ("objective", "direction"),
    [
        ("val/accuracy", "maximize"),
        ("val/loss", "minimize"),
        ("train/distill_loss", "minimize"),
        ("images_per_second", "maximize"),
        ("result.energy_joules", "minimize"),
        ("result.latency.p50", "minimize"),
        ("result.p99_ms", "minimize"),
        ("result.model_bytes", "minimize"),
        ("result.counts.add", "maximize"),
    ],
)
def test_what_costs_is_minimised_unless_said_otherwise(objective: str, direction: str) -> None:
    assert direction_of(objective) == sweep_spec(objective=objective).direction == direction
    assert sweep_spec(objective=objective, direction=None).direction == direction
    assert sweep_spec(objective=objective, direction="maximize").direction == "maximize"


@pytest.mark.parametrize(
    ("objective", "meant"),
    [
        ("accuracy", "val/accuracy"),
        ("val_acc", "val/accuracy"),
        ("val_accuracy", "val/accuracy"),
        ("loss", "val/loss"),
        ("val/los", "val/loss"),
        ("top5", "val/top5"),
        ("test/accuracy", "val/accuracy"),
    ],
)
def test_an_objective_that_is_no_metric_is_answered_with_the_one_that_was_meant(objective: str, meant: str) -> None:
    found = refused(objective=objective)
    assert list(found) == ["/objective"]
    assert f"is no metric of a training (did you mean {meant}?); known: val/accuracy, " in found["/objective"]


def test_objectives_of_other_kinds_are_paths_into_their_results() -> None:
    assert wrong_objective("evaluate", "result.loss") is None
    assert "did you mean result.accuracy?" in str(wrong_objective("evaluate", "accuracy"))
    assert "did you mean result.accuracy?" in str(wrong_objective("evaluate", "val/accuracy"))
    assert wrong_objective("analyze", "result.rows.0.mean") is None
    assert wrong_objective("analyze", "adder-0/val/accuracy") is None
    assert "result.NAME" in str(wrong_objective("analyze", "result."))
    assert wrong_objective("train", "grad_norm/conv1") is None
    assert wrong_objective("train", "result.counts.operations.add") is None


def test_a_value_is_found_at_the_end_of_its_path() -> None:
    result = {"val/loss": 0.5, "counts": {"add": 7, "layers": [{"n": 3}]}, "yes": True, "name": "x"}
    assert [value_at(result, name) for name in ("val/loss", "result.counts.add", "result.counts.layers.0.n")] == [
        0.5,
        7.0,
        3.0,
    ]
    for name in ("yes", "name", "result.yes", "result.counts", "result.counts.layers.9.n", "nothing"):
        assert value_at(result, name) is None
    assert value_at(None, "val/loss") is None
    assert paths(result, 9) == ["val/loss", "result.counts.add"]


def test_an_unknown_field_that_varies_is_answered_once_with_the_one_that_was_meant() -> None:
    found = refused(grid={"optimizer.learning_rate": [1, 2, 3]})
    assert list(found) == ["/grid/optimizer.learning_rate"]
    assert "did you mean optimizer.lr?" in found["/grid/optimizer.learning_rate"]
    found = refused(search={"batchsize": {"type": "int", "low": 2, "high": 8}})
    assert "did you mean batch_size?" in found["/search/batchsize"]


@pytest.mark.parametrize(
    ("grid", "where"),
    [
        ({"optimizer.lr": [1, 1.0]}, "/grid/optimizer.lr/1"),
        ({"seed": [0, 1], "early_stop": [None, {"patience": 2}, {"patience": 2.0}]}, "/grid/early_stop/2"),
        ({"batch_size": [128, 128.0]}, "/grid/batch_size/1"),
    ],
)
def test_values_that_make_the_same_job_are_refused_where_they_repeat_it(grid: dict[str, Any], where: str) -> None:
    assert "makes the same job as" in refused(grid=grid)[where]


def test_a_search_ends_when_its_space_has_no_other_job(database: Database, tmp_path: Path) -> None:
    worker = Worker(database, store_of(Settings(data_dir=tmp_path)))
    sweep = create(database, search={"model.method": METHODS}, trials=20, parallel=1)
    assert sweep_spec(search={"model.method": METHODS}, trials=20).size == 2
    drive(database, sweep)
    for value in (0.5, 0.9):
        finish(worker, worker.claim(), value)
        ended = drive(database, sweep)
    assert [trial.parameters["model.method"] for trial in trials(database, sweep)].count("adder") == 1
    assert len(trials(database, sweep)) == 2
    assert (ended.status, ended.message) == (
        SweepStatus.SUCCEEDED,
        "All 2 different jobs of the search's space were run; it has no more.",
    )


def test_points_of_a_space_that_make_the_same_job_run_once(database: Database, tmp_path: Path) -> None:
    """1 and 1.0 are two choices and one job, and so are a failed trial and its repetition."""
    worker = Worker(database, store_of(Settings(data_dir=tmp_path)))
    space = {"optimizer.lr": {"type": "categorical", "choices": [1, 1.0, 0.5]}}
    sweep = create(database, search=space, trials=9, parallel=1)
    drive(database, sweep)
    finish(worker, worker.claim(), None, Status.FAILED)
    drive(database, sweep)
    finish(worker, worker.claim(), 0.9)
    assert drive(database, sweep).status == SweepStatus.SUCCEEDED
    assert sorted(float(trial.parameters["optimizer.lr"]) for trial in trials(database, sweep)) == [0.5, 1.0]


def test_a_step_of_floats_gives_numbers_as_people_write_them() -> None:
    spec = sweep_spec(search={"optimizer.lr": STEPS}, trials=9)
    assert spec.size == 5
    known: list[Known] = []
    while (found := search.suggest(spec, known)) is not None:
        known.append(Known(search.TrialStatus.SUCCEEDED, found, 0.5))
    assert sorted(trial.parameters["optimizer.lr"] for trial in known) == [0.1, 0.2, 0.3, 0.4, 0.5]
    for wrong, said in (({"step": 0.3}, "must divide"), ({"step": 0}, "greater than 0"), ({"log": True}, "left out")):
        with pytest.raises(ValidationError, match=said):
            sweep_spec(search={"optimizer.lr": STEPS | wrong})


def test_every_kind_that_can_be_submitted_is_a_base() -> None:
    evaluate = {"kind": "evaluate", "model_id": "model_x", "dataset": {"name": "digits"}}
    spec = sweep_spec(base=evaluate, grid={"split": ["train", "validation"]})
    assert (spec.objective, spec.direction) == ("result.accuracy", "maximize")
    assert [one.kind for _, one in planning.plan(spec, 9)] == ["evaluate"] * 2
    analyze = {"kind": "analyze", "recipe": "table1"}
    choices = {"type": "categorical", "choices": [["lenet5_bn"], ["resnet20"]]}
    with pytest.raises(ValidationError):  # a choice is a number, a text or null
        sweep_spec(base=analyze, search={"archs": choices}, objective="result.x")
    spec = sweep_spec(base=analyze, search={"priority": {"type": "int", "low": 1, "high": 3}}, objective="result.x")
    assert (spec.pruner, spec.size) == ("none", 3)
    assert planning.plan(spec, 9)[0][1].kind == "analyze"
    assert sweep_spec(search={"optimizer.lr": LR}).pruner == "median"
    assert sweep_spec(search={"optimizer.lr": LR}, objective="result.counts.add").pruner == "none"
