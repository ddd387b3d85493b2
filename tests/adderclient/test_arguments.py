"""What callers of the client hand in: specs as mappings or files, ids, values of numpy."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adderclient import BadId, BadSpec, Client
from adderclient.arguments import plain, segment, spec_of


class Method(enum.Enum):
    ADDER = "adder"


@dataclass
class Thing:
    id: str


def test_values_that_json_has_no_form_for() -> None:
    grid = {"optimizer.lr": np.logspace(-2, 0, 3), "seed": range(2), "epochs": np.int64(3), "eta": np.float32(0.5)}
    found = plain({"grid": grid, "method": Method.ADDER, "file": Path("a/b"), "pair": (1, None), "on": np.bool_(True)})
    assert json.loads(json.dumps(found)) == {
        "grid": {"optimizer.lr": [0.01, 0.1, 1.0], "seed": [0, 1], "epochs": 3, "eta": 0.5},
        "method": "adder", "file": "a/b", "pair": [1, None], "on": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ({"optimizer": {"lr": float("nan")}}, ValueError, r"optimizer\.lr: nan is no number"),
        ({"optimizer": {"lr": np.float64("inf")}}, ValueError, r"optimizer\.lr: inf is no number"),
        ({"grid": {"seed": {1, 2}}}, TypeError, r"grid\.seed: JSON has no form for set"),
        ({"labels": {3: "a"}}, TypeError, r"labels: the name of a field is a text, not int: 3"),
        ({"grid": [0, b"1"]}, TypeError, r"grid\.1: JSON has no form for bytes"),
    ],
)
def test_what_has_none_is_named_with_its_field(value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        plain(value)


def test_an_id_is_a_text_or_an_objects() -> None:
    assert segment("job_1") == segment(Thing("job_1")) == "job_1"
    assert segment("a/../b?c") == "a%2F..%2Fb%3Fc"
    for wrong in ("", ".", ".."):
        with pytest.raises(BadId, match="is no id and no name"):
            segment(wrong)
    for other in (None, 3, ["job_1"]):
        with pytest.raises(TypeError, match="an id or a name is a text"):
            segment(other)


def test_a_spec_may_be_a_file(tmp_path: Path) -> None:
    yaml, written = tmp_path / "spec.yaml", tmp_path / "spec.json"
    yaml.write_text("kind: train\nepochs: 3\n")
    written.write_text('{"kind": "train", "epochs": 3}')
    for given in (yaml, str(yaml), written, {"kind": "train", "epochs": 3}):
        assert spec_of(given) == {"kind": "train", "epochs": 3}
    yaml.write_text("- 1")
    for path, says in ((yaml, "this is a list"), (tmp_path, "Is a directory"), (tmp_path / "no", "No such file")):
        with pytest.raises(BadSpec, match=says):
            spec_of(path)
    for wrong in (None, [{}], 3):
        with pytest.raises(TypeError, match="a spec is a mapping, or the path of a YAML or JSON file"):
            spec_of(wrong)  # type: ignore[arg-type]


def test_nothing_is_sent_of_what_is_wrong() -> None:
    with Client("http://127.0.0.1:1") as client:
        with pytest.raises(BadId):
            client.jobs.get("")
        with pytest.raises(TypeError):
            client.jobs.submit(None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="nan"):
            client.sweeps.submit({"base": {"epochs": float("nan")}})
