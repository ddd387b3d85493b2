"""The analyze spec of the service is the configuration of `addercore.analysis`, with every default filled in."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from addercore import config
from api.http.problems import bad_fields
from jobs.scheduling import MEGA, work_of
from jobs.spec import SPEC, SUBMITTED_SPEC, AnalyzeSpec


def parsed(**document: Any) -> AnalyzeSpec:
    spec = SUBMITTED_SPEC.validate_python({"kind": "analyze", **document})
    assert isinstance(spec, AnalyzeSpec)
    return spec


def own(spec: AnalyzeSpec) -> dict[str, Any]:
    """What is not the service's alone."""
    document = spec.model_dump(mode="json")
    return {key: value for key, value in document.items() if key not in config.SERVICE_KEYS}


@pytest.mark.parametrize("recipe", config.RECIPES)
@pytest.mark.parametrize("dataset", config.DATASETS)
def test_defaults_are_the_recipes_for_the_dataset_and_survive_a_round_trip(recipe: str, dataset: str) -> None:
    spec = parsed(recipe=recipe, dataset={"name": dataset})
    assert {"kind": "analyze", **own(spec)} == config.recipe_spec(recipe, dataset)
    assert SPEC.validate_python(spec.model_dump(mode="json")) == spec
    assert SPEC.validate_python(config.recipe_spec(recipe, dataset)) == spec
    assert parsed(recipe=recipe, dataset={"name": dataset}, archs=None, methods=None, etas=None) == spec
    assert config.AnalyzeConfig.from_dict(spec.model_dump(mode="json")).to_dict() == own(spec)


def test_digits_is_the_default_dataset() -> None:
    assert parsed(recipe="table1").dataset.name == "digits"


@pytest.mark.parametrize("recipe", [name for name, info in config.RECIPES.items() if info.takes_model])
def test_with_a_model_nothing_is_left_to_train(recipe: str) -> None:
    spec = parsed(recipe=recipe, model_id="model_x")
    assert (spec.archs, spec.methods, spec.epochs) == (None, None, None)
    assert SPEC.validate_python(spec.model_dump(mode="json")) == spec
    assert work_of(spec) == 1


def test_work_is_that_of_all_trainings() -> None:
    one, two = parsed(recipe="table4", seeds=[0], epochs=3), parsed(recipe="table4", seeds=[0, 1], epochs=3)
    assert work_of(two) == pytest.approx(2 * work_of(one), abs=1)
    assert work_of(one) == config.AnalyzeConfig.from_dict(one.model_dump(mode="json")).operations() // MEGA
    assert work_of(one) > 1000


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({}, ["/recipe"]),
        ({"recipe": "table9"}, ["/recipe"]),
        ({"recipe": ["table1"]}, ["/recipe"]),
        ({"recipe": "table1", "dataset": "digits"}, ["/dataset"]),
        ({"recipe": "table1", "dataset": {"name": ["digits"]}}, ["/dataset/name"]),
        ({"recipe": "table1", "seeds": "0", "checkpoint": 3}, ["/seeds", "/checkpoint"]),
        ({"recipe": "table1", "epochs": 3, "etas": [0.1]}, ["/etas", "/epochs"]),
        ({"recipe": "table1", "model_id": "model_x"}, ["/model_id"]),
        ({"recipe": "table1", "control": "permuted_labels"}, ["/control"]),
        ({"recipe": "table4", "etas": [0.1, 0, -1]}, ["/etas/1", "/etas/2"]),
        ({"recipe": "table4", "etas": [0.1, 0.1]}, ["/etas"]),
        ({"recipe": "table4", "seeds": []}, ["/seeds"]),
        ({"recipe": "table4", "seeds": [0, -1]}, ["/seeds/1"]),
        ({"recipe": "table4", "seeds": list(range(101))}, ["/seeds"]),
        ({"recipe": "figure4", "archs": ["lenet5_bn", "resnet20"]}, ["/archs"]),
        ({"recipe": "figure4", "archs": ["lenet"], "methods": ["adder", "xor"]}, ["/archs/0", "/methods/1"]),
        ({"recipe": "figure4", "batch_size": 5000}, ["/batch_size"]),
        ({"recipe": "figure4", "dataset": {"name": "nowhere"}}, ["/dataset/name"]),
        ({"recipe": "figure4", "model_id": "x y"}, ["/model_id"]),
        ({"recipe": "figure4", "epoch": 3, "dataset": {"name": "digits", "size": 1}}, ["/epoch", "/dataset/size"]),
        ({"recipe": "figure4", "checkpoint": {"keep": 0}}, ["/checkpoint/keep"]),
    ],
)
def test_bad_fields_are_pointed_out(document: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(**document)
    found = bad_fields(caught.value, SUBMITTED_SPEC)
    assert sorted(pointer for pointer, _ in found) == sorted(pointers), found
