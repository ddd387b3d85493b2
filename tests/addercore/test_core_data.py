"""Datasets: shapes and orientation, IDX files and everything that can be wrong with them, augmentation."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addercore import BadData, sample_image
from addercore.data import idx, load, prepare, random_crop, raw, sets
from addercore.sample import main as sample_main
from addercore.spec import DATASETS, dataset


def test_digits_are_split_by_writer_and_normalised() -> None:
    info = dataset("digits")
    train, validation = load("digits", None, "train"), load("digits", None, "validation")
    assert (len(train), len(validation)) == (info.train_size, info.validation_size) == (1437, 360)
    assert train.images.shape == (1437, 1, 32, 32)
    assert train.images.dtype == torch.float32
    assert abs(train.images.mean()) < 1e-3
    assert abs(train.images.std() - 1) < 1e-3
    assert set(train.labels.tolist()) == set(range(10))
    from sklearn.datasets import load_digits

    assert validation.labels.tolist() == load_digits().target[1437:].tolist()


def test_a_sample_is_the_stored_image_light_on_dark(tmp_path: Path) -> None:
    image = sample_image("digits", 3)
    pixels, _ = raw("digits", "validation")
    assert image.size == (8, 8)
    assert np.array_equal(np.asarray(image), np.round(pixels[3, 0].numpy() * 255))
    assert np.asarray(image)[0, 0] == 0  # the ground is dark
    sample_main(["digits", "3", str(tmp_path / "d.png")])
    from PIL import Image

    with Image.open(tmp_path / "d.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(image))
    with pytest.raises(ValueError, match=r"359.*360"):
        sample_image("digits", 360)
    with pytest.raises(ValueError, match=r"'test'.*train, validation"):
        load("digits", None, "test")  # type: ignore[arg-type]


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MNIST's four files of a small size, which the known sizes are set to; two of them gzipped."""
    import dataclasses

    info = dataclasses.replace(DATASETS["mnist"], train_size=6, validation_size=4)
    monkeypatch.setattr(sets, "dataset", lambda name: info)
    rng = np.random.default_rng(0)
    for name, size in zip(info.files, (6, 6, 4, 4), strict=True):
        shape = (size, 28, 28) if "images" in name else (size,)
        content = idx_bytes(rng.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8))
        if "train" in name:
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_mnist_plain_and_gzipped(mnist: Path) -> None:
    train, validation = load("mnist", mnist, "train"), load("mnist", mnist, "validation")
    assert train.images.shape == (6, 1, 32, 32)
    assert validation.images.shape == (4, 1, 32, 32)
    stored = idx.read(mnist / "train-images-idx3-ubyte", (6, 28, 28))
    expected = prepare(stored[:, None].float() / 255, (32, 32), (0.1307,), (0.3081,))
    assert torch.equal(train.images, expected)


IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b"", "truncated"),
        (lambda b: b[:10], "truncated inside its header"),
        (lambda b: b[:-1], "truncated or damaged: 4703 bytes of data where 4704"),
        (lambda b: b + b"\0", "4705 bytes"),
        (lambda b: b"PK\3\4" + b[4:], "0x504b0304"),
        (lambda b: idx_bytes(np.zeros((6, 32, 32), np.uint8)), r"\(6, 32, 32\), but \(6, 28, 28\)"),
        (lambda b: idx_bytes(np.zeros(6, np.uint8)), "0x00000801"),
    ],
)
def test_a_damaged_file_is_named_with_a_remedy(mnist: Path, damage: Any, says: str) -> None:
    path = mnist / IMAGES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadData, match=says) as caught:
        load("mnist", mnist, "train")
    assert str(path) in str(caught.value)


def test_missing_and_unreadable_files(mnist: Path) -> None:
    with pytest.raises(BadData, match="needs a data folder"):
        load("mnist", None, "train")
    packed = mnist / "t10k-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(BadData, match="download it again"):
        load("mnist", mnist, "validation")
    packed.write_bytes(b"not gzip")
    with pytest.raises(BadData, match=r"t10k-images-idx3-ubyte\.gz cannot be read"):
        load("mnist", mnist, "validation")
    (mnist / IMAGES).unlink()
    with pytest.raises(BadData, match=rf"{IMAGES} \(or {IMAGES}\.gz\) is missing; get it from"):
        load("mnist", mnist, "train")
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(6, 11, np.uint8)))
    with pytest.raises(BadData, match="label 11"):
        load("mnist", mnist, "train")


def test_random_crop_moves_whole_images_over_black() -> None:
    images = torch.arange(1, 2 * 3 * 6 * 5 + 1, dtype=torch.float32).view(2, 3, 6, 5)
    black = torch.tensor([-1.0, -2.0, -3.0])
    seen = set()
    for seed in range(200):
        cropped = random_crop(images, black, torch.Generator().manual_seed(seed))
        assert cropped.shape == images.shape
        for n in range(2):
            canvas = black.view(3, 1, 1).expand(3, 14, 13).clone()
            canvas[:, 4:10, 4:9] = images[n]
            places = [
                (dy, dx)
                for dy in range(9)
                for dx in range(9)
                if torch.equal(canvas[:, dy : dy + 6, dx : dx + 5], cropped[n])
            ]
            assert places
            seen.add(places[0])
    assert len(seen) > 60  # of 81 places
