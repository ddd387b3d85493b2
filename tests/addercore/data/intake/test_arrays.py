"""Arrays in the forms of Keras, MedMNIST, scikit-learn and friends, and the lines of numpy that mend others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.config import IntakeOptions
from tests.addercore.data.intake.taking import Taken, problems, refusal, taken
from tests.support.uploads import arrays, npz

TRAIN, TEST = arrays(20), arrays(8, seed=1)
X, Y = TRAIN["images"], TRAIN["labels"]
V, W = TEST["images"], TEST["labels"]


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_val", "Y_val"),
        ("Xtrain", "ytrain", "Xdev", "ydev"),
        ("Xtr", "Ytr", "Xte", "Yte"),
        ("trainX", "trainY", "testX", "testY"),
        ("train_images", "train_labels", "val_images", "val_labels"),
        ("train_data", "train_target", "test_data", "test_target"),
        ("training_images", "training_labels", "validation_images", "validation_labels"),
        ("images_train", "labels_train", "images_eval", "labels_eval"),
        ("X", "y", "X_test", "y_test"),
    ],
)
def test_names_of_arrays_with_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = taken(tmp_path, npz(**dict(zip(names, (X, Y, V, W), strict=True))))
    assert np.array_equal(found.tensors["train_images"][:, 0], X)
    assert np.array_equal(found.tensors["validation_images"][:, 0], V)
    assert np.array_equal(found.tensors["validation_labels"], W)


@pytest.mark.parametrize(
    "names", [("X", "y"), ("data", "target"), ("images", "target"), ("features", "labels"), ("inputs", "targets")]
)
def test_names_of_arrays_without_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    assert sum(taken(tmp_path, npz(**dict(zip(names, (X, Y), strict=True)))).sizes) == 20


def test_medmnist(tmp_path: Path) -> None:
    """Three parts, labels (N, 1): the validation part validates."""
    parts = {f"{part}_images": X[:n] for part, n in (("train", 12), ("val", 8), ("test", 20))}
    labels = {f"{part}_labels": Y[:n, None].astype(np.uint8) for part, n in (("train", 12), ("val", 8), ("test", 20))}
    found = taken(tmp_path, npz(**parts, **labels))
    assert found.sizes == (12, 8)
    assert "Left out: the arrays test_images, test_labels." in found.notes


def test_scikit_learns_digits(tmp_path: Path) -> None:
    """`images` has rows and columns, `data` is flat; values reach from 0 to 16, which is asked for."""
    named = {
        "data": X.reshape(20, -1),
        "images": X,
        "target": Y,
        "target_names": np.array(list("abcd")),
        "DESCR": np.array("digits"),
        "frame": np.array(None, dtype=object),
    }
    found = taken(tmp_path, npz(**named))
    assert found.classes == ("a", "b", "c", "d")
    assert "Left out: the arrays DESCR, data, frame." in found.notes
    sixteen = named | {"images": X / X.max() * 16.0}
    told = refusal(tmp_path, npz(**sixteen))
    assert "floats from" in told
    assert "x = (x * (255 / 16)).round().astype(np.uint8)" in told


def test_which_array_is_asked_for(tmp_path: Path) -> None:
    assert "Which array has the images, images, inputs?" in refusal(tmp_path, npz(images=X, inputs=X, labels=Y))
    assert "Which array has the labels, label, target?" in refusal(tmp_path, npz(images=X, label=Y, target=Y))
    assert "but no labels to x_train" in refusal(tmp_path, npz(x_train=X))
    assert "but no images to y_test" in refusal(tmp_path, npz(x_train=X, y_train=Y, y_test=W))
    assert "The file has arr_0, arr_1. It needs x_train" in refusal(tmp_path, npz(arr_0=X, arr_1=Y))


# Ranges


def scaled(folder: Path, images: Any, **options: Any) -> Taken:
    return taken(folder, npz(x_train=images, y_train=Y, x_test=images, y_test=Y), IntakeOptions(**options))


RAMP = np.linspace(0, 1, 20 * 64).reshape(20, 8, 8)
BYTES = np.rint(RAMP * 255)


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (RAMP, ""),
        (RAMP.astype(np.float16), ""),
        (BYTES.astype(np.uint8), ""),
        (BYTES.astype(np.int64), ""),
        (BYTES.astype(np.float32), "floats from 0 to 255: 0 became black and 255 white"),
        (RAMP * 2 - 1, "floats from -1 to 1: -1 became black and 1 white"),
        ((RAMP * 65535).round().astype(np.uint16), "integers from 0 to 65535: 0 became black and 65,535 white"),
        ((RAMP * 4095).round().astype(">u2"), "integers from 0 to 4095: 0 became black and 4,095 white"),
        ((RAMP * 1023).round().astype(np.int32), "integers from 0 to 1023: 0 became black and 1,023 white"),
    ],
)
def test_ranges_that_are_told_by_their_values(tmp_path: Path, images: Any, note: str) -> None:
    found = scaled(tmp_path, images)
    rounded_twice = images.dtype == np.float16 or images.max() > 255
    assert np.abs(found.tensors["train_images"][:, 0] - BYTES).max() <= rounded_twice
    assert note in found.notes
    assert note or "black" not in found.notes


@pytest.mark.parametrize("kind", [np.uint8, bool, np.int64, np.float32])
def test_zeros_and_ones_are_black_and_white(tmp_path: Path, kind: Any) -> None:
    bits = (RAMP > 0.5).astype(kind)
    found = scaled(tmp_path, bits)
    assert np.array_equal(found.tensors["train_images"][:, 0], np.where(RAMP > 0.5, 255, 0))
    assert kind is np.float32 or "from 0 to 1: 0 became black and 1 white" in found.notes


@pytest.mark.parametrize(
    ("images", "value_range", "black", "white"),
    [
        ((RAMP * 16).round().astype(np.uint8), "bits", 0, 31),
        ((RAMP * 16).round().astype(np.uint8), "0..255", 0, 255),
        (RAMP * 0.2, "0..1", 0, 1),
        (RAMP * 0.8 - 0.4, "-1..1", -1, 1),
        ((RAMP > 0.5).astype(np.uint8), "0..1", 0, 1),
    ],
)
def test_ranges_that_are_declared(tmp_path: Path, images: Any, value_range: str, black: float, white: float) -> None:
    found = scaled(tmp_path, images, value_range=value_range)
    expected = np.rint((images.astype(float) - black) / (white - black) * 255)
    assert np.array_equal(found.tensors["train_images"][:, 0], expected)
    assert f"{black} became black and {white} white" in found.notes


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((RAMP * 16).round().astype(np.uint8), ["bytes from 0 to 16", "nearly black", "(x * (255 / 16)).round()"]),
        (RAMP / 255, ["nearly black", "divided by 255 twice"]),
        (RAMP - 0.5, ["is 0 their middle", "x = x + 0.5"]),
        ((RAMP - 0.3) / 0.3, ["no usual range", "x = x * std + mean", "(x + 1) * (255 / 3.3"]),
        (RAMP * 16, ["floats from 0 to 16", "no usual range", "x = (x * (255 / 16))"]),
        ((RAMP * 255).astype(np.int16) - 128, ["which one is black", "x = ((x + 128) * (255 / 255))"]),
        ((RAMP * 1e6).astype(np.int64), ["at most 16 bits", "x = (x * (255 / 1e+06))"]),
    ],
)
def test_ranges_that_cannot_be_told_are_asked_for(tmp_path: Path, images: Any, words: list[str]) -> None:
    told = refusal(tmp_path, npz(images=images, labels=Y))
    assert all(word in told for word in words), told


def test_a_declared_range_that_the_values_leave(tmp_path: Path) -> None:
    for value_range in ("0..1", "-1..1"):
        told = refusal(tmp_path, npz(images=X, labels=Y), IntakeOptions(value_range=value_range))
        assert f"which is not within value_range {value_range}" in told
    told = refusal(tmp_path, npz(images=RAMP, labels=Y), IntakeOptions(value_range="bits"))
    assert "value_range bits is for integers" in told


# Shapes


def test_alpha_in_arrays(tmp_path: Path) -> None:
    alpha = np.where(RAMP > 0.5, 255, 0).astype(np.uint8)
    found = scaled(tmp_path, np.stack([np.zeros_like(alpha)] * 3 + [alpha], -1))
    assert np.array_equal(found.tensors["train_images"][:, 2], 255 - alpha)
    assert "were laid on white" in found.notes


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (X.reshape(20, 64), "images = images.reshape(-1, 8, 8)"),
        (np.zeros((20, 3072), np.uint8), "images = images.reshape(-1, 3, 32, 32) where all red comes first"),
        (np.zeros((20, 60), np.uint8), "images = images.reshape(-1, h, w)"),
        (np.moveaxis(np.stack([X] * 3, -1), 0, -1), "images = np.moveaxis(images, -1, 0)"),
        (np.moveaxis(X, 0, -1), "images = np.moveaxis(images, -1, 0)"),
        (np.zeros((20, 4, 8, 8), np.uint8), "images = images[:, :3]"),
        (np.zeros((20, 8, 8, 5), np.uint8), "images = images[..., :3]"),
    ],
)
def test_shapes_with_the_line_that_mends_them(tmp_path: Path, images: Any, line: str) -> None:
    assert line in refusal(tmp_path, npz(images=images, labels=Y))


def test_both_axes_could_be_the_channels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 9, 3), dtype=np.uint8)
    assert "which can be (N, h, w, c) and (N, c, h, w)" in refusal(tmp_path, npz(images=images, labels=Y))


# Labels


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (np.eye(4)[Y], "(one-hot): the column with 1 became the label"),
        (np.eye(4, dtype=bool)[Y], "(one-hot)"),
        (Y[:, None], ""),
        (Y[None], ""),
        (Y.astype(float), "floats that are whole numbers"),
    ],
)
def test_labels_that_are_read(tmp_path: Path, labels: Any, note: str) -> None:
    found = taken(tmp_path, npz(x_train=X, y_train=labels, x_test=V, y_test=W))
    assert np.array_equal(found.tensors["train_labels"], Y)
    assert note in found.notes


def test_labels_from_1_on_keep_their_numbers_as_names(tmp_path: Path) -> None:
    found = taken(tmp_path, npz(x_train=X, y_train=Y + 1, x_test=V, y_test=W + 1))
    assert found.classes == ("1", "2", "3", "4")
    assert np.array_equal(found.tensors["train_labels"], Y)
    assert "The labels are numbers from 1 to 4: 1 is the first class, 0 is none." in found.notes
    named = taken(tmp_path, npz(x_train=X, y_train=Y + 1, classes=list("abcd")))
    assert named.classes == ("a", "b", "c", "d")


def test_names_as_labels_in_any_form(tmp_path: Path) -> None:
    names = np.array(["été", "e\u0301te\u0301", "b", "c"])[Y]  # two normal forms of one name
    for labels in (names, np.char.encode(names, "utf-8")):
        assert taken(tmp_path, npz(images=X, labels=labels)).classes == ("b", "c", "été")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(list("abcd"), dtype=object)[Y], ["a pickle, which is never read", "labels = labels.astype(str)"]),
        (np.where(Y == 1, 5, Y), ["'1' has no images", "np.unique(labels, return_inverse=True)[1]"]),
        (np.where(Y == 1, -1, Y), ["image 1 is -1", "keep = labels >= 0", "np.unique"]),
        (Y * 10_000, ["10000", "at most 10,000 classes", "np.unique"]),
        (np.random.default_rng(0).random((20, 4)), ["labels = labels.argmax(axis=1)"]),
        (np.ones((20, 4)), ["labels[0] names 4 classes", "keep = labels.sum(axis=1) == 1"]),
        (np.full(20, b"\xff"), ["not UTF-8", "labels = labels.astype(str)"]),
    ],
)
def test_labels_with_the_line_that_mends_them(tmp_path: Path, labels: Any, words: list[str]) -> None:
    told = problems(tmp_path, npz(images=X, labels=labels))[0]
    assert all(word in told for word in words), told


def test_images_of_different_sizes_in_an_array_of_objects(tmp_path: Path) -> None:
    ragged = np.empty(20, dtype=object)
    ragged[:] = list(X)
    told = refusal(tmp_path, npz(images=ragged, labels=Y))
    assert "images = np.stack(images).astype(np.uint8)" in told


@pytest.mark.parametrize("name", ["c\x1b[31mat", "c\ud800t", "c\u2028t", "", "x" * 101])
def test_names_of_classes_that_are_no_names(tmp_path: Path, name: str) -> None:
    told = problems(tmp_path, npz(images=X, labels=Y, classes=[name, "b", "c", "d"]))[0]
    told.encode()
    assert "The class" in told
    assert "\x1b" not in told


def test_names_of_arrays_never_steer_a_terminal(tmp_path: Path) -> None:
    assert "\x1b" not in taken(tmp_path, npz(**{"images": X, "labels": Y, "\x1b[2J": Y})).notes
    assert "\x1b" not in refusal(tmp_path, npz(**{"\x1b[2J": Y}))
