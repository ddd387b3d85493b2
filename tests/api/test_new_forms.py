"""Forms made from schemas: what a spec says comes back from its form as it was, for every kind there is."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from addercore.config.fields import Section
from api.new.drafts import draft_from
from api.new.fields import groups_of
from api.new.form import document_of, field_of, fields_in, pairs_of
from api.new.sweeping import Row, part_of, rows_from
from jobs.spec import KINDS, SPEC, SUBMITTED
from tests.support.specs import train_body

MODEL = "model_01jv3m8z4k6wq0x9t2rhf5ybcd"
NEEDED: dict[str, dict[str, Any]] = {
    "train": train_body(early_stop={"patience": 3}, labels={"a": "1", "b": "x:y"}),
    "analyze": {"recipe": "mnist", "seeds": [0, 1], "archs": ["lenet5_bn"]},
    "benchmark": {"model_id": MODEL, "batch_sizes": [1, 8], "engines": ["torch"]},
    "quantize": {"model_id": MODEL, "dataset": {"name": "digits"}, "finetune": {"epochs": 3}},
}
"""Specs with what their kind needs and with values of each sort; other kinds are about a model."""


@pytest.mark.parametrize("kind", SUBMITTED)
def test_a_spec_with_every_field_comes_back_from_its_form(kind: str) -> None:
    about_a_model = {"model_id": MODEL, "dataset": {"name": "digits"}}
    spec = SPEC.validate_python({"kind": kind, **NEEDED.get(kind, about_a_model)})
    document = spec.model_dump(mode="json")
    draft, unknown = draft_from(document)
    assert unknown == []
    assert SPEC.validate_python(draft.base) == spec


@pytest.mark.parametrize("kind", SUBMITTED)
def test_every_field_of_a_kind_is_in_its_form(kind: str) -> None:
    groups = groups_of(KINDS[kind], frozenset({"kind"}))
    top = {group.name or field.name for group in groups for field in group.fields}
    assert top == set(KINDS[kind].model_fields) - {"kind"}
    assert all(field.meaning for field in fields_in(groups))


class Part(Section):
    """A part."""

    deep: int | None = 3
    """A number."""


class Unknown(Section):
    """A kind that nobody knows yet."""

    engines: list[Literal["torch", "integer"]] = ["torch"]  # noqa: RUF012  (a declaration: pydantic copies it)
    """Some of two."""
    sizes: list[int] = [1]  # noqa: RUF012
    """Numbers."""
    twin: bool = True
    """A truth value."""
    layers: list[dict[str, Any]] | None = None
    """Anything."""
    part: Part | None = None
    """A section that may be missing."""
    stated: Part = Part(deep=5)
    """A section with a default of its own."""


def test_a_schema_that_nobody_wrote_code_for_has_its_form() -> None:
    groups = groups_of(Unknown)
    controls = {field.name: field.control for field in fields_in(groups)}
    assert controls == {
        "engines": "many",
        "sizes": "list",
        "twin": "flag",
        "layers": "json",
        "part.deep": "text",
        "stated.deep": "text",
    }
    assert next(field.default for field in fields_in(groups) if field.name == "stated.deep") == 5
    document = {
        "engines": ["torch", "integer"],
        "sizes": [1, 8],
        "twin": False,
        "layers": [{"kind": "conv"}],
        "part": {"deep": None},
        "stated": {"deep": 7},
    }
    pairs, unknown = pairs_of(groups, document)
    assert unknown == []
    assert document_of(groups, pairs) == document
    assert pairs_of(groups, {"sizes": [1], "more": 1, "part": {"other": 2}})[1] == ["more", "part.other"]
    assert document_of(groups, {"part": ["on"]}) == {"part": {}}


def test_bad_values_stay_as_they_were_written_for_the_schema_to_judge() -> None:
    groups = groups_of(Unknown)
    pairs = {"sizes": ["1, x, 2.5"], "twin": ["perhaps"], "layers": ["{"], "stated.deep": ["nan"]}
    assert document_of(groups, pairs) == {
        "sizes": [1, "x", 2.5],
        "twin": "perhaps",
        "layers": "{",
        "stated": {"deep": "nan"},
    }


@pytest.mark.parametrize(
    ("mode", "name", "text", "value"),
    [
        ("grid", "optimizer.eta", "0.05, 0.1", [0.05, 0.1]),
        ("grid", "model.method", "adder, conv", ["adder", "conv"]),
        ("grid", "optimizer.clip_norm", "null, 1", [None, 1]),
        ("search", "optimizer.lr", "0.001 to 1 log", {"type": "float", "low": 0.001, "high": 1, "log": True}),
        ("search", "batch_size", "16 to 128 step 16", {"type": "int", "low": 16, "high": 128, "step": 16}),
        ("search", "optimizer.nesterov", "true, false", {"type": "categorical", "choices": [True, False]}),
    ],
)
def test_the_rows_of_a_sweep_are_read_and_written(mode: Any, name: str, text: str, value: Any) -> None:
    fields = list(fields_in(groups_of(KINDS["train"])))
    part = part_of(mode, [Row(name, text)], fields)
    assert part == {mode: {name: value}}
    assert rows_from(part) == (mode, [Row(name, text)])


def test_a_pointer_leads_to_its_field() -> None:
    names = ["labels", "optimizer.lr", "optimizer"]
    assert field_of("/labels/a~1b", names) == "labels"
    assert field_of("/optimizer/lr", names) == "optimizer.lr"
    assert field_of("/optimizer/rate", names) == "optimizer"
    assert field_of("/other", names) is None
