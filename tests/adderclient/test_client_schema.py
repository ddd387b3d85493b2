"""`--set` knows the fields of specs and their types. tests/jobs/test_specs.py compares its file with the server."""

from __future__ import annotations

from typing import Any

import pytest

from adderclient import schema
from adderclient.command.errors import UsageError
from adderclient.command.specs import of_recipe


def test_values_have_the_type_of_their_field() -> None:
    given = [
        "seeds=[0, 1]",
        "epochs=010",
        "checkpoint.every_epochs=",
        "labels.run=2024-01-05",
        "labels.n=7",
        "labels.x=",
    ]
    spec = of_recipe("table4", given)
    assert spec["seeds"] == [0, 1]
    assert spec["epochs"] == 10
    assert spec["checkpoint"] == {"every_epochs": None}
    assert spec["labels"] == {"run": "2024-01-05", "n": "7", "x": ""}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epoch=3", "analyze has no field epoch; did you mean epochs?"),
        ("checkpoint.kep=3", "did you mean checkpoint.keep?"),
        ("every_seconds=3", "did you mean checkpoint.every_seconds?"),
        ("zzz=1", "analyze has no field zzz$"),
        ("epochs=many", "epochs takes an integer"),
        ("seeds=1", "seeds takes a list"),
        ("resources.exact=1", "resources.exact takes true or false"),
    ],
)
def test_a_wrong_field_or_type_is_told_before_anything_is_sent(override: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        of_recipe("table4", [override])


def test_initials_lead_to_the_field() -> None:
    assert schema.nearest("train", "optimizer.learning_rate") == "optimizer.lr"
    assert schema.nearest("train", "bs") == "batch_size"


def test_a_kind_of_a_newer_server_takes_anything() -> None:
    spec: dict[str, Any] = of_recipe("table4", ["kind=forecast", "horizon=3"])
    assert spec["horizon"] == 3
    assert schema.fields("forecast") == {}
