"""`quantize` on trained digits, its report and manifest, golden vectors, and what it refuses."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import addercore
from addercore import Model
from addercore.errors import BadModel
from addercore.quant import agreement, dataset_bytes, evaluate, float_scores, golden, quantize
from addercore.quant.emit import Factors, rescale
from addercore.runtime import engines, load, reference
from addercore.runtime.format import write
from addercore.runtime.program import SCORES, Adder, Dot
from tests.addercore.conftest import make_config
from tests.addercore.quant.models import SHAPES, images_for, model_of

FEW = "ignore:.*calibration images"
LENET = SHAPES["lenet5_bn"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = tmp_path_factory.mktemp("digits")
    addercore.fit(make_config(epochs=8), workdir=folder, threads=1)
    return addercore.load(folder / "model.safetensors")


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    return {split: dataset_bytes("digits", split) for split in ("train", "validation")}


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"bits": 8}, 0.99),
        ({"bits": 8, "rescale": "shift"}, 0.93),
        ({"bits": 4}, 0.93),
        ({"bits": 4, "groups": 4}, 0.93),
        ({"bits": 4, "finetune": {"epochs": 1}}, 0.93),
    ],
    ids=str,
)
def test_digits_get_the_same_answers(
    trained: Model, digits: dict[str, Any], options: dict[str, Any], least: float
) -> None:
    images, labels = digits["train"]
    test, test_labels = digits["validation"]
    made = quantize(trained, images, labels=labels, **options)
    found = evaluate(made.program, test, test_labels)
    exact = float_scores(trained, test).argmax(1)
    assert agreement(found.answers, exact) >= least
    assert found.accuracy == pytest.approx((made.run(test).argmax(1) == test_labels).mean())
    assert set(made.report["signal_to_noise"]) == {"input", "conv1", "pool1", "conv2", "pool2", "conv3", "fc1"}
    assert min(made.report["signal_to_noise"].values()) > (25 if options == {"bits": 8} else 5)


def test_search_and_correction_lower_the_error(trained: Model, digits: dict[str, Any]) -> None:
    """Of the scores, on images that nothing was chosen by."""
    images, labels = digits["train"]
    test, _ = digits["validation"]
    exact = float_scores(trained, test)

    def error(**options: Any) -> float:
        return float(np.square(quantize(trained, images, labels=labels, bits=4, **options).run(test) - exact).mean())

    plain, corrected = error(correction="none", search=False), error(correction="affine", search=False)
    assert corrected < plain
    assert error() < corrected


def test_the_manifest_says_how_it_was_made_and_what_it_costs() -> None:
    with pytest.warns(UserWarning, match="6 calibration images are few"):
        made = quantize(model_of(), images_for(LENET, 6), bits=4, rescale="shift", search=False)
    manifest = made.program.manifest
    assert manifest["classes"] == ["0", "1", "2", "3"]
    assert manifest["network"]["arch"] == "lenet5_bn"
    assert manifest["quantisation"] == {
        "bits": 4, "groups": 1, "rescale": "shift", "correction": "affine", "finetune": None
    }  # fmt: skip
    derived = manifest["derived"]
    weights = sum(one.weights.size for one in made.program.operations if isinstance(one, Adder | Dot))
    assert derived["weight_bytes"] == weights == 6 * 25 + 16 * 150 + 120 * 400 + 120 * 84 + 84 * 4
    assert derived["packed_bytes"] == weights // 2
    assert derived["operations"]["mul"] == derived["rescale_multiplications"] == 0


@pytest.mark.filterwarnings(FEW)
@pytest.mark.parametrize("arch", [arch for arch in SHAPES if arch != "custom"])
@pytest.mark.parametrize("method", ["adder", "conv"])
def test_the_engine_has_kernels_for_every_layer_of_published_networks(arch: str, method: str, tmp_path: Path) -> None:
    """Element by element ResNet-20 would take a thousand times as long."""
    found = quantize(model_of(arch, method, method), images_for(SHAPES[arch], 4), search=False)
    write(found.program, tmp_path / "model.adder")
    for engine in (name for name, here in engines().items() if here):
        assert load(tmp_path / "model.adder", engine).slow_terms == 0, engine


@pytest.mark.filterwarnings(FEW)
def test_golden_vectors_hold_every_integer_of_the_reference() -> None:
    images = images_for(LENET, 3)
    program = quantize(model_of(), images, bits=5, search=False).program
    file = BytesIO()
    golden(program, images, file)
    file.seek(0)
    with np.load(file, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["images"], images)
        assert len(found["names"]) == len(program.operations)
        for number, image in enumerate(images):
            for key, value in reference.trace(program, image).items():
                name = "scores" if key == SCORES else f"value_{key}"
                np.testing.assert_array_equal(found[name][number], value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 1}, "bits must be an integer from 2 to 8, got 1"),
        ({"bits": 9}, "bits must be an integer from 2 to 8, got 9"),
        ({"bits": 4.0}, "bits must be an integer"),
        ({"groups": 0}, "groups must be an integer from 1 to 8, got 0"),
        ({"groups": 9}, "groups must be an integer from 1 to 8, got 9"),
        ({"rescale": "divide"}, "unknown rescale 'divide'; known: multiply, shift"),
        ({"correction": "all"}, "unknown correction 'all'; known: none, bias, affine"),
        ({"calibration_images": 1}, "calibration_images must be ≥ 2, got 1"),
        ({"labels": np.zeros(4, np.int64)}, "labels are all of class 0"),
        ({"labels": np.array([0, 1, 2, 4])}, "labels must be 4 integers from 0 to 3"),
        ({"labels": np.array([0, 1])}, "labels must be 4 integers"),
    ],
)
@pytest.mark.filterwarnings(FEW)
def test_options_out_of_range_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quantize(model_of(), images_for(LENET, 4), **options)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (images_for(LENET, 1), "several different ones, got 1"),
        (np.repeat(images_for(LENET, 1), 5, 0), "several different ones, got 5 alike"),
        (images_for((1, 28, 28), 4), r"images must be uint8 \(N, 1, 32, 32\), got uint8 \(4, 1, 28, 28\)"),
        (images_for(LENET, 4) / 255, "got float64"),
    ],
)
def test_images_that_scales_cannot_be_told_from_are_refused(images: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quantize(model_of(), images)


@pytest.mark.parametrize("method", ["bnn", "xnor", "bwn"])
def test_binary_methods_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match=f"method '{method}' has no integer form"):
        quantize(model_of(method=method, first_last="conv"), images_for(LENET, 4))


def test_weights_that_are_not_finite_are_refused() -> None:
    model = model_of()
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(BadModel, match=r"conv1\.weight has values that are NaN or infinite"):
        quantize(model, images_for(LENET, 4))


def test_sums_that_could_overflow_are_refused() -> None:
    factors = Factors(torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(BadModel, match="wide: its sums reach 2,147,483,648"):
        rescale("wide", factors, 2**31, 255)
    found, _ = rescale("wide", factors, 2**31 - 1, 255)
    assert int(found.multiplier[0]) * (2**31 - 1) < 2**62
    huge = Factors(torch.full((2,), 1e12, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(BadModel, match="64 bits"):
        rescale("wide", huge, 2**31 - 1, 255)


@pytest.mark.filterwarnings(FEW)
def test_a_model_that_knows_one_class_is_warned_of() -> None:
    model = model_of()
    with torch.no_grad():
        model.module.get_parameter("bn5.bias")[2] = 1e4
    with pytest.warns(UserWarning, match="takes all calibration images for one class"):
        quantize(model, images_for(LENET, 4), search=False)
