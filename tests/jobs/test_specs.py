"""A job's spec is its configuration and what the service adds; what is generated from it is current."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from addercore import config
from api.http.problems import bad_fields
from jobs import spec_files
from jobs.spec import KINDS, SPEC, SUBMITTED, SUBMITTED_SPEC, CommonSpec

CONFIGS = {
    "train": config.TrainConfig,
    "evaluate": config.EvaluateConfig,
    "analyze": config.AnalyzeConfig,
    "quantize": config.QuantizeConfig,
    "benchmark": config.BenchmarkConfig,
}
TRAIN: dict[str, Any] = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}


@pytest.mark.parametrize("kind", SUBMITTED)
def test_a_spec_adds_the_services_fields_alone(kind: str) -> None:
    spec, own = KINDS[kind], CONFIGS[kind]
    assert set(spec.model_fields) == set(own.model_fields) | set(config.SERVICE_KEYS)
    assert set(CommonSpec.model_fields) | {"kind"} == set(config.SERVICE_KEYS)
    assert next(iter(spec.model_fields)) == "kind"
    for name, field in own.model_fields.items():
        assert repr(spec.model_fields[name]) == repr(field), f"{kind}: {name} is defined a second time"


@pytest.mark.parametrize("kind", SUBMITTED)
def test_every_field_has_a_meaning(kind: str) -> None:
    schema = spec_files.schema_of(KINDS[kind])
    walk = spec_files.Walk(schema)
    for name, field in spec_files.fields(schema).items():
        if name != "kind":
            assert field.get("description") or walk.resolved(field).get("description"), name


def test_a_batch_that_trains_has_two_images_in_every_kind() -> None:
    for body in (TRAIN, {"kind": "analyze", "recipe": "table4"}):
        with pytest.raises(ValidationError) as caught:
            SUBMITTED_SPEC.validate_python({**body, "batch_size": 1})
        ((where, why),) = bad_fields(caught.value, SUBMITTED_SPEC)
        assert (where, "normalisation needs two images" in why) == ("/batch_size", True)
    evaluation = {"kind": "evaluate", "model_id": "model_x", "dataset": {"name": "digits"}, "batch_size": 1}
    assert SUBMITTED_SPEC.validate_python(evaluation).batch_size == 1  # nothing is normalised over the batch


def test_a_stored_spec_reads_back_as_itself() -> None:
    for body in (TRAIN, {"kind": "analyze", "recipe": "distillation"}, {"kind": "ingest", "dataset_id": "ds_x"}):
        spec = SPEC.validate_python(body)
        assert SPEC.validate_python(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_all_bad_fields_of_a_body_are_told_at_once() -> None:
    body = {**TRAIN, "optimizer": {"lr": 0, "learning_rate": 1}, "batch_size": 5000, "labels": {"a:b": "", "c.d": [1]},
            "resources": {"threads": 0}, "priority": "high"}  # fmt: skip
    with pytest.raises(ValidationError) as caught:
        SUBMITTED_SPEC.validate_python(body)
    assert [where for where, _ in bad_fields(caught.value, SUBMITTED_SPEC)] == [
        *("/optimizer/lr", "/optimizer/learning_rate", "/batch_size", "/resources/threads", "/priority"),
        *("/labels/a:b", "/labels/c.d"),
    ]


def test_generated_files_are_current() -> None:
    for path, text in spec_files.contents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m jobs.spec_files"
