"""Published datasets: shapes and orientation, IDX and CIFAR files and everything that can be wrong with them."""

import dataclasses
import gzip
import io
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addercore import BadData, sample_image
from addercore.config import DATASETS, DatasetInfo, dataset
from addercore.config.datasets import how_to_get, missing_files
from addercore.data import load, prepare, raw, sets, source
from addercore.sample import main as sample_main
from tests.addercore.data.data_files import cifar_files, idx_bytes, small


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

    bunch = load_digits()
    assert validation.labels.tolist() == bunch.target[1437:].tolist()
    # Sixteenths are exact: bytes 0…16, not 0…255.
    assert np.array_equal(raw("digits", "train")[0][:, 0].numpy(), bunch.images[:1437].astype(np.float32) / 16)


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


def known(monkeypatch: pytest.MonkeyPatch, info: DatasetInfo) -> DatasetInfo:
    """Makes this module's readers see `info` under its name."""
    monkeypatch.setattr(sets, "dataset", lambda name: info)
    return info


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MNIST's four files of a small size, which the known sizes are set to; two of them gzipped."""
    info = known(monkeypatch, dataclasses.replace(DATASETS["mnist"], train_size=6, validation_size=4, checksums=()))
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
    pixels = np.frombuffer((mnist / IMAGES).read_bytes(), dtype=np.uint8, offset=16).reshape(6, 1, 28, 28)
    expected = prepare(torch.tensor(pixels).float() / 255, (32, 32), (0.1307,), (0.3081,))
    assert torch.equal(train.images, expected)


def test_the_articles_of_clothing_are_not_looked_for_among_the_digits(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = known(
        monkeypatch, dataclasses.replace(DATASETS["fashion_mnist"], train_size=6, validation_size=4, checksums=())
    )
    with pytest.raises(BadData, match="adder datasets fetch fashion_mnist"):
        source("fashion_mnist", "train", mnist)
    assert len(missing_files(info, mnist)) == 4
    (mnist / "fashion_mnist").mkdir()
    for path in list(mnist.glob("*ubyte*")):
        path.rename(mnist / "fashion_mnist" / path.name)
    assert missing_files(info, mnist) == []
    assert len(source("fashion_mnist", "train", mnist)) == 6


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
    with pytest.raises(BadData, match="get it again"):
        load("mnist", mnist, "validation")
    packed.write_bytes(b"not gzip")
    with pytest.raises(BadData, match=r"t10k-images-idx3-ubyte\.gz cannot be read"):
        load("mnist", mnist, "validation")
    (mnist / IMAGES).unlink()
    with pytest.raises(BadData, match=rf"{IMAGES} of mnist: missing. Run `adder datasets fetch mnist`"):
        load("mnist", mnist, "train")
    (mnist / IMAGES).write_bytes(idx_bytes(np.zeros((6, 28, 28), np.uint8)))
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(6, 11, np.uint8)))
    with pytest.raises(BadData, match="have a 11, but its 10 classes are 0 to 9"):
        load("mnist", mnist, "train")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("packed", [False, True], ids=["files", "archive"])
def test_cifar_from_its_files_or_their_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packed: bool
) -> None:
    info = small(name, 4)
    files = cifar_files(info, 4)
    info = known(monkeypatch, dataclasses.replace(info, checksums=tuple(sha256(files[n]).hexdigest() for n in files)))
    folder = tmp_path / name
    folder.mkdir()
    if packed:
        with tarfile.open(folder / info.archive, "w:gz") as archive:
            for file, content in files.items():
                member = tarfile.TarInfo(f"cifar-batches-bin/{file}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        for file, content in files.items():
            (folder / file).write_bytes(content)
    assert missing_files(info, tmp_path) == []
    train, validation = source(name, "train", tmp_path), source(name, "validation", tmp_path)
    assert (len(train), len(validation)) == (info.train_size, 4)
    assert train.labels[:5].tolist() == [0, 1, 2, 3, 0][: len(train.labels[:5])]  # the fine ones, not the 7
    first = np.frombuffer(files[info.files[0]], dtype=np.uint8)[-3072:].reshape(3, 32, 32)
    assert np.array_equal(train.pixels(torch.tensor([3]))[0].numpy(), first)
    image = np.asarray(sample_image(name, 3, "train", tmp_path))
    assert np.array_equal(image, first.transpose(1, 2, 0))
    ready = load(name, tmp_path, "train").images
    expected = (first / 255 - np.array(info.mean)[:, None, None]) / np.array(info.std)[:, None, None]
    np.testing.assert_allclose(ready[3].numpy(), expected, atol=1e-5)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = known(monkeypatch, small("cifar100", 3))
    (tmp_path / "cifar100").mkdir()
    for file, content in cifar_files(info, 3).items():
        (tmp_path / "cifar100" / file).write_bytes(content)
    with pytest.raises(BadData, match=r"train\.bin is not the published file .*adder datasets fetch cifar100"):
        source("cifar100", "train", tmp_path)
    known(monkeypatch, small("cifar100", 4))
    with pytest.raises(BadData, match=r"train\.bin is truncated or damaged: 9222 bytes where 4 records of 3074"):
        source("cifar100", "train", tmp_path)


def test_an_archive_without_the_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = known(monkeypatch, small("cifar10", 3))
    (tmp_path / "cifar10").mkdir()
    with tarfile.open(tmp_path / "cifar10" / info.archive, "w:gz"):
        pass
    with pytest.raises(BadData, match=r"does not hold test_batch\.bin"):
        source("cifar10", "validation", tmp_path)
    (tmp_path / "cifar10" / info.archive).write_bytes(b"no archive")
    with pytest.raises(BadData, match=r"cifar-10-binary\.tar\.gz cannot be read"):
        source("cifar10", "validation", tmp_path)


def test_every_dataset_is_described_whole() -> None:
    for name, info in DATASETS.items():
        assert info.name == name
        assert DatasetInfo.from_dict(info.to_dict()) == info
        assert len(set(info.classes)) == len(info.classes) >= 2
        assert len(info.mean) == len(info.std) == info.input_shape[0]
        assert len(info.checksums) in (0, len(info.files))
        assert all(len(digest) == 64 for digest in info.checksums)
        if info.files:
            assert f"adder datasets fetch {name}" in how_to_get(info, Path("data"))
    assert DATASETS["imagenet"].classes[0] == "n01440764 tench"
    assert len(DATASETS["imagenet"].classes) == 1000
    assert list(DATASETS["cifar100"].classes) == sorted(DATASETS["cifar100"].classes)
