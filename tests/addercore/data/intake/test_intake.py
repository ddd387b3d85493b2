"""Uploads of every format become the same kind of file, which trainings read."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import addercore
from addercore import TrainConfig
from addercore.config import DatasetInfo, IntakeOptions, register
from addercore.data import SPLITS, raw
from addercore.data.intake import Intake, take_in
from addercore.errors import Stopped
from tests.support.uploads import arrays, folders, npz, png, tarred, written, zipped


def taken(folder: Path, data: bytes, options: IntakeOptions = IntakeOptions()) -> tuple[Intake, dict[str, Any]]:
    made = take_in(written(folder, data), folder / "canonical", "ds_mine", options)
    return made, load_file(folder / "canonical")


def digest(folder: Path, data: bytes, options: IntakeOptions = IntakeOptions()) -> str:
    taken(folder, data, options)
    return hashlib.sha256((folder / "canonical").read_bytes()).hexdigest()


def test_arrays_with_parts(tmp_path: Path) -> None:
    train, test = arrays(20), arrays(8, seed=1)
    parts = {"x_train": train["images"], "y_train": train["labels"], "x_test": test["images"], "y_test": test["labels"]}
    made, tensors = taken(tmp_path, npz(**parts))
    assert np.array_equal(tensors["train_images"][:, 0], train["images"])
    assert np.array_equal(tensors["validation_labels"], test["labels"])
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "train_images": (np.uint8, (20, 1, 8, 8)),
        "train_labels": (np.int64, (20,)),
        "validation_images": (np.uint8, (8, 1, 8, 8)),
        "validation_labels": (np.int64, (8,)),
    }
    info = made.info
    assert (info.name, info.input_shape, info.classes) == ("ds_mine", (1, 8, 8), ("0", "1", "2", "3"))
    pixels = train["images"] / 255
    assert info.mean == (pytest.approx(pixels.mean(), abs=1e-6),)
    assert info.std == (pytest.approx(pixels.std(), abs=1e-6),)
    assert DatasetInfo.from_dict(info.to_dict()) == info


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda x: x[..., None], (1, 8, 8)),
        (lambda x: x[:, None], (1, 8, 8)),
        (lambda x: np.stack([x, x, 255 - x], -1), (3, 8, 8)),
        (lambda x: np.stack([x, x, 255 - x], 1), (3, 8, 8)),
        (lambda x: x / 255.0, (1, 8, 8)),
        (lambda x: (x / 255).astype(np.float16), (1, 8, 8)),
        (lambda x: x.astype(">i4"), (1, 8, 8)),
    ],
)
def test_arrays_of_every_layout(tmp_path: Path, change: Any, shape: tuple[int, ...]) -> None:
    given = arrays()
    made, tensors = taken(tmp_path, npz(images=change(given["images"]), labels=given["labels"].astype(np.uint8)))
    assert made.info.input_shape == shape
    found = np.concatenate([tensors["train_images"][:, 0], tensors["validation_images"][:, 0]])
    assert sorted(map(bytes, found)) == sorted(map(bytes, given["images"]))


def test_a_choice_validates_the_same_part_of_each_class(tmp_path: Path) -> None:
    data = npz(**arrays(80))
    made, tensors = taken(tmp_path, data, IntakeOptions(validation_fraction=0.25))
    assert np.bincount(tensors["validation_labels"]).tolist() == [5, 5, 5, 5]
    assert (made.info.train_size, made.info.validation_size) == (60, 20)
    assert digest(tmp_path, data, IntakeOptions(seed=1)) == digest(tmp_path, data, IntakeOptions(seed=1))
    assert digest(tmp_path, data, IntakeOptions(seed=1)) != digest(tmp_path, data, IntakeOptions(seed=2))


def test_class_folders_give_the_same_bytes_in_any_archive(tmp_path: Path) -> None:
    files = folders("cat", "dog", "10", "9", channels=3)
    backwards = dict(reversed(files.items()))
    digests = {
        digest(tmp_path, data)
        for data in (
            zipped(files),
            zipped(backwards, method=0),
            tarred(files),
            tarred(backwards, "w:gz"),
            tarred(files, "w:bz2"),
        )
    }
    assert len(digests) == 1
    made, _ = taken(tmp_path, zipped(files))
    assert made.info.classes == ("9", "10", "cat", "dog")  # numbers by value
    with safe_open(tmp_path / "canonical", "numpy") as file:
        assert file.metadata() == {"adderworks": '{"classes": ["9", "10", "cat", "dog"]}'}
    renamed = {name.replace("cat", "cow"): data for name, data in files.items()}
    assert digest(tmp_path, zipped(renamed)) not in digests


def test_folders_with_parts_in_an_outer_folder(tmp_path: Path) -> None:
    files = folders("a", "b", prefix="data/train/") | folders("a", "b", images=2, prefix="data/Val/")
    files |= folders("a", "b", images=3, prefix="data/test/") | {"data/README.md": b"hello", "data/.git/x": b"x"}
    made, tensors = taken(tmp_path, tarred(files, "w:gz"))
    assert (made.info.train_size, made.info.validation_size) == (8, 4)
    assert np.array_equal(
        tensors["train_images"][0, 0], np.asarray(Image.open(io.BytesIO(files["data/train/a/0.png"])))
    )
    assert [note for note in made.notes if "README" in note]
    assert [note for note in made.notes if "test is left out" in note]


def test_images_of_many_kinds(tmp_path: Path) -> None:
    files = folders("a", "b", size=(8, 8))
    files["a/wide.png"] = png(7, (4, 9))
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 65_535, dtype=np.uint16)).save(deep, "PNG")
    files["b/deep.png"] = deep.getvalue()
    made, tensors = taken(tmp_path, zipped(files), IntakeOptions(size=(16, 12), channels=3))
    assert made.info.input_shape == (3, 16, 12)
    everything = np.concatenate([tensors["train_images"], tensors["validation_images"]])
    assert (everything == 255).all((1, 2, 3)).sum() == 1
    made, _ = taken(tmp_path, zipped(files))
    assert made.info.input_shape == (1, 64, 64)
    assert [note for note in made.notes if "2 different sizes" in note]
    files["a/photo.jpg"] = png(8, (8, 8), 3, format="JPEG")
    assert taken(tmp_path, zipped(files), IntakeOptions(channels=1))[0].info.input_shape[0] == 1


def test_names_of_classes(tmp_path: Path) -> None:
    given = arrays(classes=3)
    assert taken(tmp_path, npz(**given, classes=["x", "y", "z"]))[0].info.classes == ("x", "y", "z")
    texts = np.array(["low", "mid", "high"])[given["labels"]]
    assert taken(tmp_path, npz(images=given["images"], labels=texts))[0].info.classes == ("high", "low", "mid")
    column = given["labels"][:, None].astype(np.float32)
    assert taken(tmp_path, npz(images=given["images"], labels=column))[0].info.classes == ("0", "1", "2")


def test_a_training_reads_what_was_taken_in(tmp_path: Path) -> None:
    name = "ds_intake_trained"
    made = take_in(
        written(tmp_path, npz(**arrays(60, size=12))),
        tmp_path / f"{name}.safetensors",
        name,
        IntakeOptions(size=(32, 32)),
    )
    register(made.info)
    for split in SPLITS:
        pixels, labels = raw(name, split, tmp_path)
        shades = (255 * pixels.mean((1, 2, 3)) - 25) / 50  # as `arrays` has them
        assert labels.tolist() == shades.round().tolist()
    config = TrainConfig.from_dict(
        {"model": {"arch": "lenet5_bn"}, "dataset": {"name": name}, "epochs": 1, "batch_size": 16}
    )
    result = addercore.fit(config, workdir=tmp_path / "run", data_dir=tmp_path, threads=1)
    assert (result.stopped, result.step) == (False, -(-made.info.train_size // 16))


def test_taking_in_needs_no_torch() -> None:
    """It takes seconds to load, which a validation then does not."""
    code = "import sys, addercore.data.intake; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_says_how_far_it_is_and_stops_when_asked(tmp_path: Path) -> None:
    said: list[float] = []
    upload = written(tmp_path, npz(**arrays(300)))
    take_in(upload, tmp_path / "canonical", "ds_x", on_progress=lambda done, _: said.append(done))
    assert said == sorted(said)
    assert (said[0], said[-1]) == (0.0, 1.0)
    assert len(said) > 8
    with pytest.raises(Stopped):
        take_in(upload, tmp_path / "canonical", "ds_x", should_stop=lambda: True)
