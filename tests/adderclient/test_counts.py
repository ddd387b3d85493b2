"""``adder count``: figures of the paper without a server."""

from __future__ import annotations

import json

import pytest

from adderclient.formats import text
from tests.adderclient.conftest import Adder

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_server(adder: Adder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDER_URL", NOBODY)  # after `adder` has named a living one


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--arch", "resnet20", "--method", "conv"], ["multiplications  40,813,184", "parameters       272,484"]),
        (["--arch", "resnet20"], ["additions        81,626,368", "multiplications  0"]),
        (["--arch", "resnet20", "--first-last", "conv"], ["81,183,360", "443,008"]),
        (["--arch", "resnet20", "--dataset", "cifar10"], ["81,183,360", "443,008", "first and last layer conv"]),
        (["--arch", "resnet32", "--method", "bnn", "--first-last", "adder"], ["XNOR operations  69,124,736"]),
        (["--arch", "lenet5_bn", "--dataset", "digits"], ["1×32×32, 10 classes", "1,666,080 cycles", "0.75 µJ"]),
        (["--arch", "lenet5_bn", "--data-type", "int8"], ["numbers of int8", "0.02 µJ"]),
        (["--arch", "vgg_small", "--method", "xnor", "--layers"], ["conv2", "xnor_conv", "128×32×32", "150,994,944"]),
        ([], ["resnet50_v1.5", "4,089,184,256", "alexnet", "23,925,440"]),
    ],
)
def test_figures(adder: Adder, arguments: list[str], says: list[str]) -> None:
    done = adder("count", *arguments)
    assert done.returncode == 0, done.stderr
    for figure in says:
        assert figure in done.stdout


def test_json_is_the_model_object_of_a_validation(adder: Adder) -> None:
    found = json.loads(adder("count", "--arch", "resnet20", "--input", "1x9x14", "--classes", "7", "--json").stdout)
    assert (found["input_shape"], found["classes"], found["method"]) == ([1, 9, 14], 7, "adder")
    assert found["layers"][-3]["output_shape"] == [7, 1, 1]
    assert found["operations"]["add"] == sum(layer["operations"]["add"] for layer in found["layers"])
    every = json.loads(adder("count", "--json").stdout)["data"]
    assert ("layers" in every[0], len({one["arch"] for one in every}), len({one["method"] for one in every})) == (
        False,
        10,
        5,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--arch", "inception"], "unknown arch 'inception'; known: lenet5_bn"),
        (["--arch", "resnet20", "--method", "xor"], "unknown method 'xor'; known: adder, conv, bnn"),
        (["--arch", "resnet20", "--first-last", "both"], "unknown first_last 'both'"),
        (["--arch", "resnet20", "--data-type", "fp8"], "unknown data_type 'fp8'"),
        (["--arch", "resnet20", "--dataset", "digit"], "unknown dataset 'digit'"),
        (["--arch", "resnet20", "--dataset", "digits", "--classes", "3"], "leave out --input and --classes"),
        (["--arch", "resnet20", "--input", "32"], "--input 32: write channels, height and width as 3x32x32"),
        (["--arch", "resnet20", "--classes", "1"], "classes must be ≥ 2, got 1"),
        (["--arch", "lenet5_bn", "--input", "1x9x9"], "the input is too small"),
        (["--layers"], "name it with --arch"),
    ],
)
def test_what_cannot_be_counted_is_said(adder: Adder, arguments: list[str], says: str) -> None:
    done = adder("count", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_nested_stands_in_brackets() -> None:
    result = {"val/accuracy": 0.9583, "counts": {"operations": {"add": 833_040, "mul": 0}, "parameters": 61_942}}
    assert text(result) == "val/accuracy 95.83 %, counts (operations (add 833040, mul 0), parameters 61942)"
    assert text(result["counts"]["operations"]) == "add 833040, mul 0"  # type: ignore[index]
