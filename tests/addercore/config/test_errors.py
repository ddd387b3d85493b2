"""What is wrong with a configuration: the place of each bad field, and a sentence that says what would do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from addercore.arch import ARCHS
from addercore.config import FieldError, IntakeOptions, InvalidConfig, TrainConfig, explain
from addercore.config.errors import MAX_SHOWN, MOST_ASKED
from addercore.config.schema import fields, nearest, nearest_value, schema_of, values

SPEC: dict[str, Any] = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


def reasons(spec: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as caught:
        TrainConfig.from_dict(spec)
    return {error.pointer: error.reason for error in caught.value.errors}


def test_a_field_is_named_as_people_and_as_programs_do() -> None:
    error = FieldError(("labels", "a/b~", 1), "must be a text")
    assert (error.field, error.pointer) == ("labels.a/b~.1", "/labels/a~1b~0/1")
    assert error.detail == "labels.a/b~.1 must be a text"
    assert FieldError((), "a spec must be an object").detail == "a spec must be an object"


@pytest.mark.parametrize(
    ("change", "pointer", "meant"),
    [
        ({"optimizer": {"learning_rate": 1}}, "/optimizer/learning_rate", "optimizer.lr"),
        ({"optimizer": {"wd": 1}}, "/optimizer/wd", "optimizer.weight_decay"),
        ({"optimizer": {"momentun": 1}}, "/optimizer/momentun", "optimizer.momentum"),
        ({"lr": 1}, "/lr", "optimizer.lr"),
        ({"epoch": 1}, "/epoch", "epochs"),
        ({"bs": 1}, "/bs", "batch_size"),
    ],
)
def test_an_unknown_field_is_answered_with_the_one_that_was_meant(
    change: dict[str, Any], pointer: str, meant: str
) -> None:
    assert f"(did you mean {meant}?); known: " in reasons({**SPEC, **change})[pointer]


def test_a_field_that_resembles_none_is_answered_with_all() -> None:
    assert reasons({**SPEC, "model": {"arch": "resnet20", "zzz": 1}}) == {
        "/model/zzz": "is not a field of model; known: arch, method, first_last, gradient, layers, sync_batchnorm, "
        "p_schedule, init_scale, batchnorm_momentum"
    }


def test_what_spans_fields_is_told_beside_what_is_wrong_in_others() -> None:
    found = reasons({"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "batch_size": 5000, "epochs": 0,
                     "optimizer": {"momentum": 0, "lr": -1}})  # fmt: skip
    assert found == {
        "/batch_size": "5000 exceeds the 1437 training images of digits; give at most 1437",
        "/epochs": "must be an integer ≥ 1 and ≤ 100000, got 0",
        "/optimizer/lr": "must be > 0, got -1",
        "/optimizer/nesterov": "needs optimizer.momentum > 0; set nesterov to false or give a momentum",
    }


@pytest.mark.parametrize("value", ["3", True, 1.5, None, [3]])
def test_a_number_is_a_number(value: object) -> None:
    assert list(reasons({**SPEC, "epochs": value})) == ["/epochs"]
    assert TrainConfig.from_dict({**SPEC, "epochs": 3.0}).epochs == 3  # JSON has one kind of number


def test_values_that_no_type_describes_well_are_told_in_words() -> None:
    with pytest.raises(ValidationError) as caught:
        IntakeOptions.model_validate({"size": 32, "channels": 2})
    assert [(one.pointer, one.reason) for one in explain(caught.value, IntakeOptions)] == [
        ("/size", "must be [height, width], two integers from 1 to 1024, got 32"),
        ("/channels", "must be one of 1, 3, got 2"),
    ]


def test_an_entry_of_such_a_value_keeps_its_own_place() -> None:
    with pytest.raises(ValidationError) as caught:
        IntakeOptions.model_validate({"size": [0, 5000]})
    assert [(one.pointer, one.reason) for one in explain(caught.value, IntakeOptions)] == [
        ("/size/0", "must be an integer ≥ 1 and ≤ 1024, got 0"),
        ("/size/1", "must be an integer ≥ 1 and ≤ 1024, got 5000"),
    ]


def test_a_bad_value_is_shown_as_the_reader_writes_it_and_only_where_it_is_short() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainConfig.model_validate({**SPEC, "init_from": 3, "seed": True, "precision": "f" * MAX_SHOWN})
    found = {one.field: one.reason for one in explain(caught.value, TrainConfig, json.dumps)}
    assert found == {
        "seed": "must be an integer ≥ 0 and ≤ 9223372036854775807, got true",
        "precision": "must be one of fp32, bf16",
        "init_from": "must be a model's id, got 3",
    }


def test_without_a_schema_the_sentence_still_says_what_would_do() -> None:
    errors = [{"type": "greater_than_equal", "loc": ("query", "limit"), "msg": "Input should be greater than 0"}]
    assert [(one.pointer, one.reason) for one in explain([errors[0] | {"input": 0}])] == [
        ("/query/limit", "must be greater than 0, got 0")
    ]


def test_a_copy_is_checked_as_a_whole() -> None:
    config = TrainConfig.from_dict(SPEC)
    assert config.replace(epochs=3).epochs == 3
    assert config.replace() == config
    assert hash(config.replace()) == hash(config)
    with pytest.raises(InvalidConfig, match="batch_size 5000 exceeds"):
        config.replace(batch_size=5000)
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_a_schema_lists_all_fields_and_says_their_values() -> None:
    known = fields(schema_of(TrainConfig))
    assert {"model", "model.arch", "optimizer.lr", "early_stop.patience", "distill.teacher", "seed"} <= set(known)
    assert values(known["optimizer.lr"]) == "> 0"
    assert values(known["epochs"]) == "an integer ≥ 1 and ≤ 100000"
    assert values(known["model.layers"]["anyOf"][0]) == "a list of 1 to 200 objects"
    assert nearest("zzz", ["lr", "momentum"]) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("LeNet-5-BN", "lenet5_bn"),
        ("lenet", "lenet5_bn"),
        ("resnet", "resnet20"),
        ("RESNET_18", "resnet18"),
        ("mobilenetv2", "mobilenet_v2"),
        ("vgg", "vgg_small"),
        ("alexnt", "alexnet"),
        ("transformer", None),
        ("moons", None),
        ("", None),
    ],
)
def test_the_value_that_was_meant(text: str, meant: str | None) -> None:
    assert nearest_value(text, list(ARCHS)) == meant


def test_of_many_bad_values_some_say_what_was_meant() -> None:
    items = [
        {
            "type": "literal_error",
            "loc": (i,),
            "msg": "",
            "input": "done",
            "ctx": {"expected": "'queued' or 'succeeded'"},
        }
        for i in range(300)
    ]
    found = explain(items)
    assert len(found) == 300
    assert sum("did you mean succeeded?" in error.reason for error in found) == MOST_ASKED
