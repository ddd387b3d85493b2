"""Arguments of layers and of `fit` that are none: the name, the value, and what would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addercore import Adder2d, AdderSGD, evaluate, fit, load
from addercore.export import c_source, float_model, integer_model
from addercore.quant import quantize
from tests.addercore.quant.models import model_of


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kernel_size": 0}, r"kernel_size must be an integer ≥ 1 or two of them, got 0"),
        ({"kernel_size": "3"}, r"kernel_size must be an integer ≥ 1 or two of them, got '3'"),
        ({"kernel_size": 3.0}, r"kernel_size must be .* got 3\.0"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size must be .* got \(3, 3, 3\)"),
        ({"kernel_size": 3, "stride": 0}, r"stride must be an integer ≥ 1"),
        ({"kernel_size": 3, "padding": -1}, r"padding must be an integer ≥ 0"),
        ({"kernel_size": 3, "groups": 2}, r"groups must divide 3 input and 6 output channels, got 2"),
    ],
)
def test_a_layers_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Adder2d(3, 6, **arguments)


def test_a_configuration_is_made_first(tmp_path: Path) -> None:
    spec: Any = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
    with pytest.raises(TypeError, match=r"config must be of type TrainConfig, got dict; TrainConfig\.from_dict"):
        fit(spec, workdir=tmp_path)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: load(None), r"path must be of type str or PathLike, got NoneType; name the file of a model"),  # type: ignore[arg-type]
        (lambda: evaluate("m.safetensors", "digits"), r"model must be .* Model, got str; addercore\.load gives one"),  # type: ignore[arg-type]
        (lambda: quantize("m.safetensors", None), r"model must be .* Model, got str; addercore\.load gives one"),  # type: ignore[arg-type]
        (lambda: float_model("m.safetensors"), r"model must be .* Model, got str"),  # type: ignore[arg-type]
        (lambda: integer_model(model_of()), r"program must be .* Program, got Model; .* model\.program"),  # type: ignore[arg-type]
        (lambda: c_source(model_of()), r"program must be .* Program, got Model; .* model\.program"),  # type: ignore[arg-type]
        (lambda: AdderSGD(Adder2d(1, 1, 1).parameters(), 0.1), r"Module, got generator; give the network itself"),  # type: ignore[arg-type]
    ],
)
def test_what_is_something_else(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call()
