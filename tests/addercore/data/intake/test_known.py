"""Archives of other things than image files: IDX files, CIFAR's Python files, tables; and what is named and refused."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addercore.config import IntakeOptions
from addercore.config.uploads import Columns
from addercore.data import pickles
from addercore.data.pickles import BadPickle, read_plain
from tests.addercore.data import python_cifar
from tests.addercore.data.data_files import idx_bytes
from tests.addercore.data.intake.taking import refusal, taken
from tests.support.uploads import arrays, folders, npz, png, tarred, zipped

TRAIN, TEST = arrays(20), arrays(8, seed=1)


def idx_files(images: str, labels: str, of: dict[str, Any], packed: bool = False) -> dict[str, bytes]:
    files = {images: idx_bytes(of["images"]), labels: idx_bytes(of["labels"].astype(np.uint8))}
    return {f"{name}.gz": gzip.compress(data) for name, data in files.items()} if packed else files


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-{}-{}-ubyte", "t10k-{}-{}-ubyte"),
        ("MNIST/raw/train-{}.{}-ubyte", "MNIST/raw/t10k-{}.{}-ubyte"),
        ("k49-train-{}-{}-ubyte", "k49-test-{}-{}-ubyte"),
        ("train/{}-{}-ubyte", "test/{}-{}-ubyte"),
    ],
)
def test_idx_files_as_of_mnist(tmp_path: Path, train: str, test: str, packed: bool) -> None:
    files = idx_files(train.format("images", "idx3"), train.format("labels", "idx1"), TRAIN, packed)
    files |= idx_files(test.format("images", "idx3"), test.format("labels", "idx1"), TEST, packed)
    for data in (zipped(files | {"README.md": b"x"}), tarred(files, "w:gz")):
        found = taken(tmp_path, data)
        assert np.array_equal(found.tensors["train_images"][:, 0], TRAIN["images"])
        assert np.array_equal(found.tensors["validation_images"][:, 0], TEST["images"])
        assert np.array_equal(found.tensors["validation_labels"], TEST["labels"])
        assert "validates" in found.notes


def test_an_idx_file_beside_its_packed_form_counts_once(tmp_path: Path) -> None:
    names = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    found = taken(tmp_path, zipped(idx_files(*names, TRAIN, packed=True) | idx_files(*names, TRAIN)))
    assert sum(found.sizes) == 20


def test_emnist_stands_upright(tmp_path: Path) -> None:
    files = idx_files("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte", TRAIN)
    files |= idx_files("emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte", TEST)
    found = taken(tmp_path, zipped(files))
    assert np.array_equal(found.tensors["train_images"][:, 0], TRAIN["images"].transpose(0, 2, 1))
    assert "rows and columns exchanged" in found.notes


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train-images-idx3-ubyte": idx_bytes(TRAIN["images"])}, "no IDX file of train labels, such as"),
        ({"train-images-idx3-ubyte": b"\0\0\10\3", "train-labels-idx1-ubyte": b"x"}, "truncated inside its header"),
        (
            {
                "train-images-idx3-ubyte": idx_bytes(TRAIN["images"])[:-1],
                "train-labels-idx1-ubyte": b"\0\0\x08\1\0\0\0\0",
            },
            "says that it holds (20, 8, 8)",
        ),
        ({"train-images-idx3-ubyte.gz": b"\x1f\x8bx", "train-labels-idx1-ubyte": b"x"}, "is damaged"),
        (
            {f"emnist-{kind}-train-images-idx3-ubyte": b"" for kind in ("digits", "letters")},
            "Which IDX file has the train images",
        ),
    ],
)
def test_idx_files_that_are_none(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    assert words in refusal(tmp_path, zipped(files))


# CIFAR


def colours(number: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)


def cifar10() -> dict[str, bytes]:
    files = {f"data_batch_{i}": python_cifar.batch(colours(4, i), labels=[0, 1, 0, 1]) for i in (1, 2)}
    files["test_batch"] = python_cifar.batch(colours(2, 9), labels=[0, 1])
    files["batches.meta"] = python_cifar.meta(label_names=["airplane", "automobile"])
    return {f"cifar-10-batches-py/{name}": data for name, data in files.items()} | {"readme.html": b"x"}


def test_cifars_python_files(tmp_path: Path) -> None:
    found = taken(tmp_path, tarred(cifar10(), "w:gz"))
    assert (found.classes, found.sizes) == (("airplane", "automobile"), (8, 2))
    assert np.array_equal(found.tensors["train_images"], np.concatenate([colours(4, 1), colours(4, 2)]))
    assert np.array_equal(found.tensors["validation_images"], colours(2, 9))
    assert "adder datasets fetch cifar10" in found.notes


def test_cifar_100_has_two_kinds_of_labels(tmp_path: Path) -> None:
    files = {
        name: python_cifar.batch(colours(n, n), fine_labels=[0, 1, 2, 1][:n], coarse_labels=[1, 0, 1, 0][:n])
        for name, n in (("train", 4), ("test", 3))
    }
    files["meta"] = python_cifar.meta(fine_label_names=["apple", "bear", "fish"], coarse_label_names=["big", "small"])
    data = zipped({f"cifar-100-python/{name}": content for name, content in files.items()})
    found = taken(tmp_path, data)
    assert found.classes == ("apple", "bear", "fish")
    assert "The labels are fine_labels; columns takes others: coarse_labels." in found.notes
    coarse = taken(tmp_path, data, IntakeOptions(columns=Columns(label="coarse_labels")))
    assert coarse.classes == ("big", "small")
    assert coarse.tensors["train_labels"].tolist() == [1, 0, 1, 0]


def test_the_reader_knows_every_protocol_from_2_on() -> None:
    images = colours(2, 0).reshape(2, -1)
    for protocol in (2, 3, 4):
        found = read_plain(pickle.dumps({"data": images, "labels": [1, 0], b"name": "x"}, protocol))
        assert isinstance(found, dict)
        assert np.array_equal(found["data"], images)
        assert (found["labels"], found["name"]) == ([1, 0], "x")
    by_columns = read_plain(pickle.dumps(np.asfortranarray(images), 2))
    assert np.array_equal(np.asarray(by_columns), images)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("harm",))


HUGE = b"\x80\x02}(U\x01a](X\xa0\x86\x01\x00" + b"x" * 100_000 + b"q\x01" + b"h\x01" * 500 + b"eu."
MANY_COPIES = (
    b"\x80\x02X\xa0\x86\x01\x00" + b"x" * 100_000 + b"q\0" + b"c_codecs\nencode\nh\0U\x06latin1\x86R0"[:-1] * 9 + b"."
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps(Harm(), 2), "names __builtin__.print, which is never looked up"),
        (pickle.dumps(Harm(), 4), "names builtins.print, which is never looked up"),
        (pickle.dumps({"data": np.array([print], dtype=object)}, 2), "something else than arrays of bytes"),
        (pickle.dumps({"data": np.zeros(3)}, 2), "something else than arrays of bytes"),
        (pickle.dumps([1, 2], 0), "opcode"),
        (b"\x80\x02cos\nsystem\nU\x02lsR.", "names os.system"),
        (b"\x80\x02]" + b"(" * 10 + b"e.", "damaged"),
        (b"\x80\x02T\xff\xff\xff\x7fx.", "cut off"),
        (b"\x80\x02}(K\1](K\2eK\3u.", "damaged"),
        (b"\x80\x02", "cut off"),
        (b"", "cut off"),
        (b"\x80\x02R.", "damaged"),
        (b"\x80\x02h\x05.", "damaged"),
        (MANY_COPIES, "unpacks to far more than it is"),
    ],
)
def test_other_pickles_are_not_read(data: bytes, words: str) -> None:
    with pytest.raises(BadPickle, match=words):
        read_plain(data)


def test_a_pickle_of_too_many_values_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_ITEMS", 1000)
    assert read_plain(b"\x80\x02" + b"N" * 1000 + b".") is None
    with pytest.raises(BadPickle, match="more than 1,000 values"):
        read_plain(b"\x80\x02" + b"N" * 1001 + b".")


def test_a_pickle_that_repeats_itself_takes_no_more_memory() -> None:
    found = read_plain(HUGE)
    assert isinstance(found, dict)
    first, second = found["a"][:2]
    assert first is second


def test_a_pickle_in_cifars_place_names_the_way(tmp_path: Path) -> None:
    files = cifar10() | {"cifar-10-batches-py/data_batch_1": pickle.dumps(Harm(), 2)}
    told = refusal(tmp_path, zipped(files))
    assert "data_batch_1 is a pickle that names __builtin__.print" in told
    assert "adder datasets fetch cifar10" in told


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"cifar-10-batches-bin/data_batch_1.bin": b"x"}, "which the service knows as cifar10"),
        ({"cifar-100-binary/train.bin": b"x", "cifar-100-binary/test.bin": b"x"}, "knows as cifar100"),
        ({"data/mnist.npz": npz(**TRAIN)}, "Arrays go into one .npz, uploaded as it is"),
        ({"a/x.mat": b"x", "b/y.mat": b"x"}, "Arrays go into one .npz"),
        ({"train.zip": zipped(folders("a", "b"))}, "The archive holds another one, train.zip"),
        ({"labels.csv": b"x", "1.png": png()}, "Labels in a table or in the files' names are not read"),
    ],
)
def test_archives_of_other_things_are_told_the_way(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    assert words in refusal(tmp_path, zipped(files))
