"""What of a sweep is refused, what its children are, and what came out of them: no database."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.states import TrialStatus
from jobs.sweeps import planning, plot, summary
from jobs.sweeps.planning import InvalidSweep
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Trial
from tests.jobs.sweeping import LR, sweep_spec
from tests.support.specs import train_body


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": None}, "either a grid or a search"),
        ({"search": {"optimizer.lr": LR}, "grid": {"seed": [0]}}, "either a grid or a search"),
        ({"grid": {"seed": [0]}, "trials": 3}, "belongs to a search"),
        ({"grid": {"seed": [0, 1, 0]}}, "repeats value 0"),
        ({"grid": {"optimizer": [{"eta": 1}], "optimizer.lr": [1]}}, "lies in optimizer"),
        ({"grid": {"kind": ["train"]}}, "cannot vary"),
        ({"grid": {"labels.who": ["ada"]}}, "cannot vary"),
        ({"labels": {"sweep": "mine"}}, "the sweep itself gives"),
        ({"search": {"optimizer.lr": LR | {"low": 0}}}, "must be > 0"),
        ({"search": {"optimizer.lr": LR | {"low": 2}}}, "greater than low"),
        ({"search": {"epochs": {"type": "int", "low": 1, "high": 10, "step": 4}}}, "must divide"),
        ({"search": {"model.method": {"type": "categorical", "choices": ["adder", "adder"]}}}, "repeats choice 0"),
        ({"grid": {"seed": [0]}, "paralell": 3}, "Extra inputs"),
        ({"grid": {"optimizer": {"lr": [0.1, 0.2]}}}, "is a section; name each field with dots"),
        ({"grid": {"seed": {"min": 0, "max": 4}}}, "is a range, which stands under search"),
        ({"search": {"optimizer.lr": [0.01, 1]}}, "is a list, which stands under grid"),
        ({"search": {"trials": 4}}, r"must be the range of a field, such as \{.*\}, got 4"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        sweep_spec(**changes)


def test_a_jobs_spec_is_told_where_it_belongs() -> None:
    with pytest.raises(ValidationError, match="is a job's spec; put it under base"):
        SweepSpec.model_validate(train_body() | {"grid": {"seed": [0, 1]}})


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"grid": {"optimizer.eta": [1, 0.5, -1], "seed": [0, 1]}}, ["/grid/optimizer.eta/2"], "must be > 0, got -1"),
        (
            {"grid": {"optimizer.speed": [1, 2]}},
            ["/grid/optimizer.speed"],
            "is not a field of optimizer",
        ),
        ({"grid": {"batch_size": [64, 5000], "seed": [0, 1]}}, ["/grid/batch_size/1"], "1437 training images"),
        ({"base": train_body(labels={str(n): "" for n in range(31)})}, ["/base/labels"], "31 labels; at most 30"),
        ({"base": train_body(epochs=0)}, ["/base/epochs"], "must be an integer ≥ 1"),
        ({"base": train_body() | {"kind": "evaluate"}}, ["/base/model_id", "/base/model", "/grid/optimizer.eta"], ""),
        ({"base": train_body() | {"kind": "ingest"}}, ["/base/kind"], "must be one of train, evaluate, analyze"),
        (
            {"search": {"optimizer.lr": LR | {"low": -1, "log": False}}},
            ["/search/optimizer.lr/low"],
            "must be > 0, got -1",
        ),
        (
            {"search": {"model.method": {"type": "categorical", "choices": ["adder", "magic"]}}},
            ["/search/model.method/choices/1"],
            "",
        ),
    ],
)
def test_every_child_is_checked_and_the_value_named(changes: dict[str, Any], where: list[str], said: str) -> None:
    with pytest.raises(InvalidSweep) as refused:
        planning.plan(sweep_spec(**changes), 500)
    assert [pointer for pointer, _ in refused.value.errors] == where
    assert all(said in why for _, why in refused.value.errors)


def test_a_sweep_of_ten_thousand_is_refused_at_once() -> None:
    huge = sweep_spec(grid={"seed": list(range(100)), "epochs": list(range(1, 101))})
    with pytest.raises(InvalidSweep, match=r"100 × 100 = 10,000 jobs; a sweep may make at most 500") as refused:
        planning.plan(huge, 500)
    assert refused.value.errors[0][0] == "/grid"
    with pytest.raises(InvalidSweep, match="asks for 501 jobs"):
        planning.plan(sweep_spec(search={"optimizer.lr": LR}, trials=501), 500)


def test_a_child_gets_the_recipe_of_its_own_method() -> None:
    """Defaults that depend on a field that varies are each child's own."""
    children = planning.plan(sweep_spec(grid={"model.method": ["adder", "conv"], "seed": [3]}), 500)
    assert [(one.model.method, one.optimizer.adaptive_lr, one.seed) for _, one in children] == [
        ("adder", "alr", 3),
        ("conv", "none", 3),
    ]


def trial(number: int, parameters: dict[str, Any], value: float | None) -> Trial:
    status = TrialStatus.FAILED if value is None else TrialStatus.SUCCEEDED
    return Trial(sweep_id="sweep_x", number=number, status=status, parameters=parameters, value=value)


def test_a_table_is_over_the_seeds_of_each_combination() -> None:
    spec = sweep_spec(grid={"optimizer.eta": [1, 0.5], "seed": [0, 1, 2]})
    values = [0.90, 0.92, 0.94, 0.95, 0.97, None]
    pairs = zip(planning.combinations(spec), values, strict=True)
    table = summary.tabulate(spec, [(trial(at, *pair), None) for at, pair in enumerate(pairs)])
    one, half = table.rows
    assert (one.parameters, one.trials, one.mean) == ({"optimizer.eta": 1}, (0, 1, 2), pytest.approx(0.92))
    assert one.std == pytest.approx(0.02)
    assert (len(half.values), table.best) == (2, 1)
    assert summary.as_markdown(table).splitlines()[2:] == [
        "| 1 | 3 | 92.00 ± 2.00 |",
        "| **0.5** | **2** | **96.00 ± 1.41** |",
    ]
    header, first, _ = summary.as_csv(table).splitlines()
    assert header == "optimizer.eta,trials,n,val/accuracy mean,val/accuracy std"
    assert first.split(",")[:4] == ["1", "0 1 2", "3", repr(one.mean)]


def test_a_picture_has_a_mark_for_each_value_and_escapes_names() -> None:
    spec = sweep_spec(name='<b>"eta"', grid={"optimizer.eta": [1, 0.5, 0.01], "model.method": ["adder", "conv"]})
    found = [trial(at, parameters, 0.9 + at / 100) for at, parameters in enumerate(planning.combinations(spec))]
    text = plot.draw(spec, found)
    assert text.count("<circle") == 6
    assert text.count("<path") == 2, "a line for each method"
    assert "<b>" not in text
    assert ">method adder<" in text
    assert "no trial has a value yet" in plot.draw(spec, [])
