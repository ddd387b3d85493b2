"""Which downloads a model's page offers."""

from __future__ import annotations

from typing import Any

import pytest

from api.models.files import files_of
from jobs.tables import Model


def model(format: str, method: str = "adder", weights: int | None = 61_000, size: int = 64_000) -> Model:
    manifest: dict[str, Any] = {} if weights is None else {"derived": {"weight_bytes": weights}}
    return Model(format=format, method=method, manifest=manifest, bytes=size)


@pytest.mark.parametrize(
    ("row", "exports", "formats"),
    [
        (model("safetensors"), True, ["safetensors", "onnx", "manifest"]),
        (model("safetensors"), False, ["safetensors", "manifest"]),
        (model("safetensors", "bnn"), True, ["safetensors", "manifest"]),
        (model("adder"), True, ["adder", "onnx", "c", "manifest"]),
        (model("adder", "conv", 5 * 2**20), True, ["adder", "onnx", "manifest"]),
        (model("adder", weights=None, size=5 * 2**20), True, ["adder", "onnx", "manifest"]),
        (model("adder", weights=None), True, ["adder", "onnx", "c", "manifest"]),
    ],
)
def test_a_file_is_offered_where_it_can_be_made(row: Model, exports: bool, formats: list[str]) -> None:
    assert [file.format for file in files_of(row, exports)] == formats
