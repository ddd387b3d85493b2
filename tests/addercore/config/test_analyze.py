"""The recipes' catalogue and the configuration of an analysis: defaults that fit, every bad field named."""

import json
from typing import Any

import pytest

from addercore.config import DATASETS, RECIPES, AnalyzeConfig, InvalidConfig, recipe_spec
from addercore.config.analyze import MOST_RUNS

NAMES = (
    "mnist",
    "table1",
    "table2",
    "table3",
    "table4",
    "xnor_table",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "variance",
    "distillation",
    "successors",
    "integer",
    "latency",
)


def errors_of(spec: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as caught:
        AnalyzeConfig.from_dict(spec)
    return {error.field: error.detail for error in caught.value.errors}


def test_every_table_and_figure_has_its_recipe() -> None:
    assert tuple(RECIPES) == NAMES
    assert {name for name, info in RECIPES.items() if info.takes_model} == {"figure2", "figure4", "variance"}
    for info in RECIPES.values():
        assert set(info.datasets) <= set(DATASETS)
        assert json.loads(json.dumps(info.to_dict()))["options"] == list(info.options())


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", NAMES)
def test_a_ready_spec_is_the_configuration_itself(name: str, dataset: str) -> None:
    spec = recipe_spec(name, dataset)
    assert spec["kind"] == "analyze"
    config = AnalyzeConfig.from_dict(spec)
    assert config == AnalyzeConfig.from_dict({"recipe": name, "dataset": {"name": dataset}})
    assert AnalyzeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.operations() > 0


@pytest.mark.parametrize("name", NAMES)
def test_runs_have_names_of_their_own_and_repeat_every_row_by_seed(name: str) -> None:
    config = AnalyzeConfig.from_dict({"recipe": name, "seeds": [3, 1], "epochs": None})
    runs = config.runs()
    names = [run.name for run in runs]
    assert len(set(names)) == len(names) == 2 * len(config.rows())
    assert [run.seed for run in runs] == [3] * len(config.rows()) + [1] * len(config.rows())
    assert all(run.config.seed == run.seed and run.name == f"{run.row}-{run.seed}" for run in runs)


def test_the_published_tables_keep_both_ends_as_convolutions() -> None:
    for name, ends in (("mnist", "adder"), ("table2", "conv"), ("table3", "conv")):
        run = next(run for run in AnalyzeConfig.from_dict({"recipe": name}).runs() if "adder" in run.row)
        assert run.config.model.first_last == ends


def test_digits_have_a_small_form_and_other_datasets_the_papers() -> None:
    small, full = recipe_spec("table2"), recipe_spec("table2", "cifar100")
    assert (small["archs"], full["archs"]) == (["lenet5_bn", "resnet20"], ["vgg_small", "resnet20", "resnet32"])
    assert (small["epochs"], small["batch_size"]) == (4, 32)
    assert (full["epochs"], full["batch_size"]) == (None, None)
    run = AnalyzeConfig.from_dict(full).runs()[0]
    assert (run.config.epochs, run.config.dataset.name) == (400, "cifar100")


def test_steps_are_those_of_the_trainer() -> None:
    run = AnalyzeConfig.from_dict({"recipe": "figure4", "epochs": 2, "batch_size": 100}).runs()[0]
    assert run.steps == 2 * 15  # 1,437 images: 14 full batches and one of 37


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({}, "recipe", "is required; known: mnist, table1"),
        ({"recipe": "table9"}, "recipe", "must be one of"),
        ({"recipe": "table4", "dataset": {"name": "nowhere"}}, "dataset.name", "must be one of"),
        ({"recipe": "table4", "dataset": {"name": "digits", "x": 1}}, "dataset.x", "not a field"),
        ({"recipe": "table4", "dataset": "digits"}, "dataset", "must be an object"),
        ({"recipe": "table4", "colour": 1}, "colour", "is not a field"),
        ({"recipe": "table4", "seeds": []}, "seeds", "at least 1 entry, got 0"),
        ({"recipe": "table4", "seeds": None}, "seeds", "must be a list"),
        ({"recipe": "table4", "seeds": [1, 1]}, "seeds", "each entry once"),
        ({"recipe": "table4", "seeds": [0, True]}, "seeds.1", "must be an integer ≥ 0"),
        ({"recipe": "table4", "seeds": list(range(101))}, "seeds", "at most 100 entries, got 101"),
        ({"recipe": "table4", "methods": ["adder"]}, "methods", "takes archs, etas; leave it out"),
        ({"recipe": "table4", "etas": [0.0]}, "etas.0", "must be > 0, got 0.0"),
        ({"recipe": "table4", "etas": 0.1}, "etas", "must be a list"),
        ({"recipe": "table4", "archs": ["lenet5_bn", "resnet20"]}, "archs", "must be one network"),
        ({"recipe": "table4", "archs": ["lenet6"]}, "archs.0", "must be one of"),
        ({"recipe": "table4", "epochs": 0}, "epochs", "integer ≥ 1"),
        ({"recipe": "table4", "batch_size": 1}, "batch_size", "integer ≥ 2"),
        ({"recipe": "table4", "batch_size": 2000}, "batch_size", "exceeds the 1437 training images"),
        ({"recipe": "table4", "control": "permuted_weights"}, "control", "one of none, permuted_labels for recipe"),
        ({"recipe": "table4", "control": "magic"}, "control", "must be one of none, permuted_labels, permuted_weights"),
        ({"recipe": "table4", "model_id": "model_1"}, "model_id", "recipes that take a model: figure2, figure4"),
        ({"recipe": "table4", "checkpoint": {"keep": 0}}, "checkpoint.keep", "integer ≥ 1"),
        ({"recipe": "table1", "epochs": 3}, "epochs", "which trains nothing"),
        ({"recipe": "variance", "methods": ["bnn"]}, "methods.0", "must be one of adder, conv"),
        ({"recipe": "figure1", "archs": ["lenet5_bn"]}, "archs", "must be lenet5_bn_2d"),
        ({"recipe": "figure4", "model_id": "m", "control": "permuted_labels"}, "control", "needs a training"),
        ({"recipe": "mnist", "dataset": {"name": "imagenet"}, "archs": ["resnet20", "x"]}, "archs.1", "must be one of"),
    ],
)
def test_bad_fields_are_named_with_a_remedy(spec: dict[str, Any], field: str, words: str) -> None:
    assert words in errors_of(spec)[field]


def test_all_bad_fields_are_told_at_once() -> None:
    spec = {"recipe": "table4", "seeds": [], "epochs": 0, "methods": ["adder"], "x": 1, "checkpoint": {"keep": 0}}
    assert set(errors_of(spec)) == {"seeds", "epochs", "methods", "x", "checkpoint.keep"}


def test_too_many_trainings_are_refused() -> None:
    spec = {"recipe": "mnist", "seeds": list(range(100)), "archs": ["lenet5_bn", "resnet20"]}
    assert f"takes {MOST_RUNS}" in errors_of(spec)["seeds"]


def test_what_only_the_service_needs_is_ignored() -> None:
    config = AnalyzeConfig.from_dict({"kind": "analyze", "recipe": "table1", "priority": 3, "labels": {"a": "b"}})
    assert config == AnalyzeConfig.from_dict({"recipe": "table1"})


def test_with_a_model_there_is_nothing_to_train() -> None:
    spec = {"recipe": "figure4", "model_id": "model_1", "epochs": 7, "archs": ["lenet5_bn"], "methods": ["adder"]}
    config = AnalyzeConfig.from_dict(spec)
    assert (config.epochs, config.archs, config.methods, config.runs()) == (None, None, None, ())
    assert AnalyzeConfig.from_dict(config.to_dict()) == config
