"""Parquet tables of images and labels."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from addercore.config import IntakeOptions
from addercore.config.uploads import Columns
from addercore.data.intake import BadDataset, Intake, Limits, take_in
from addercore.data.intake.pages import largest_page
from tests.addercore.data.intake import taking
from tests.support.uploads import png, tarred, written, zipped

IMAGES = [png(i) for i in range(12)]
NAMES = ["cat", "dog", "fox"]


def table(images: Any = None, labels: Any = None, metadata: dict[bytes, bytes] | None = None) -> bytes:
    columns = pa.table(
        {
            "image": pa.array(IMAGES if images is None else images),
            "label": pa.array([i % 3 for i in range(12)] if labels is None else labels),
            "other": pa.array(range(12)),
        }
    )
    sink = io.BytesIO()
    parquet.write_table(columns.replace_schema_metadata(metadata), sink, row_group_size=5)
    return sink.getvalue()


def taken(folder: Path, data: bytes, limits: Limits = Limits()) -> Intake:
    return take_in(written(folder, data), folder / "canonical", "ds_table", limits=limits)


def test_images_and_labels(tmp_path: Path) -> None:
    made = taken(tmp_path, table())
    assert (made.format, made.info.classes, made.info.train_size) == ("parquet", ("0", "1", "2"), 9)
    plain = (tmp_path / "canonical").read_bytes()
    structs = [{"bytes": image, "path": "x"} for image in IMAGES]
    taken(tmp_path, table(structs))
    assert (tmp_path / "canonical").read_bytes() == plain
    assert taken(tmp_path, table(labels=NAMES * 4)).info.classes == tuple(NAMES)
    features = {"info": {"features": {"label": {"names": NAMES}}}}
    assert taken(tmp_path, table(metadata={b"huggingface": json.dumps(features).encode()})).info.classes == tuple(NAMES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (table()[:-10], "cut off"),
        (table()[:300] + b"PAR1", "cannot be read"),
        (table(images=[1] * 12), "The column image has the type int64"),
        (table(labels=[0.5] * 12), "The column label has the type double"),
        (table(labels=[None, *[0, 1] * 5, 1]), "row 0 has no label"),
        (table(images=[None, *IMAGES[1:]]), "row 0 has no image"),
        (table(images=[b"bad", *IMAGES[1:]]), "row 0 is no image of a known format"),
        (table(labels=[-1, *[0, 1] * 5, 1]), "image 0 is -1"),
        (table(labels=[0] * 12), "one class only"),
    ],
)
def test_tables_that_are_no_datasets(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BadDataset, match=words):
        taken(tmp_path, data)


def test_tables_that_are_too_much(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="12 rows; at most 5"):
        taken(tmp_path, table(), Limits(entries=5))
    zeros = table(images=[bytes(100_000)] * 12)
    with pytest.raises(BadDataset, match="archive bomb"):
        taken(tmp_path, zeros, Limits(free_bytes=1000, ratio=5))
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": [1]}), sink)
    with pytest.raises(BadDataset, match="columns a"):
        taken(tmp_path, sink.getvalue())


def test_a_worker_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadDataset, match=r"pip install 'adderworks\[server\]'"):
        taken(tmp_path, table())


# As the hub has them


def written_table(columns: dict[str, Any], features: dict[str, Any] | None = None, **options: Any) -> bytes:
    made = pa.table(columns)
    if features is not None:
        made = made.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    sink = io.BytesIO()
    parquet.write_table(made, sink, **options)
    return sink.getvalue()


STRUCTS = [{"bytes": image, "path": None} for image in IMAGES]
NUMBERS = [i % 3 for i in range(12)]


@pytest.mark.parametrize(
    ("image", "label"), [("img", "label"), ("image", "labels"), ("img", "fine_label"), ("Image", "target"), ("x", "y")]
)
def test_columns_by_their_usual_names(tmp_path: Path, image: str, label: str) -> None:
    found = taking.taken(tmp_path, written_table({label: NUMBERS, image: STRUCTS}))
    assert found.classes == ("0", "1", "2")
    assert f"Images are in the column {image}, labels in {label}." in found.notes


def test_columns_and_names_by_the_metadata_of_the_hub(tmp_path: Path) -> None:
    """`beans` has its labels in `labels`, some have them anywhere."""
    features = {
        "photograph": {"_type": "Image"},
        "kind": {"_type": "ClassLabel", "names": NAMES},
        "id": {"_type": "Value"},
    }
    data = written_table({"id": NUMBERS, "photograph": STRUCTS, "kind": NUMBERS}, features)
    assert taking.taken(tmp_path, data).classes == tuple(NAMES)


def test_two_columns_of_labels_are_asked_for(tmp_path: Path) -> None:
    names = {"fine_label": NAMES, "coarse_label": ["big", "small"]}
    features: dict[str, Any] = {"img": {"_type": "Image"}}
    features |= {column: {"_type": "ClassLabel", "names": names[column]} for column in names}
    data = written_table({"img": STRUCTS, "fine_label": NUMBERS, "coarse_label": [i % 2 for i in range(12)]}, features)
    assert "Which column has the labels, fine_label, coarse_label? Say it with columns" in taking.refusal(
        tmp_path, data
    )
    coarse = taking.taken(tmp_path, data, IntakeOptions(columns=Columns(label="coarse_label")))
    assert coarse.classes == ("big", "small")
    told = taking.refusal(tmp_path, data, IntakeOptions(columns=Columns(image="img", label="nope")))
    assert "no column 'nope' (columns); it has img, fine_label, coarse_label" in told


@pytest.mark.parametrize("labels", [NAMES * 4, NUMBERS])
def test_labels_encoded_as_a_dictionary(tmp_path: Path, labels: list[Any]) -> None:
    data = written_table({"image": IMAGES, "label": pa.array(labels).dictionary_encode()})
    assert taking.taken(tmp_path, data).classes == tuple(sorted(set(map(str, labels))))


def test_the_pixels_are_those_of_their_row(tmp_path: Path) -> None:
    """Whatever the order of the columns."""
    plain = taking.taken(tmp_path, written_table({"image": IMAGES, "label": NAMES * 4}))
    turned = taking.taken(tmp_path, written_table({"label": NAMES * 4, "image": IMAGES}))
    for name in NAMES:
        assert np.array_equal(plain.images(name), turned.images(name))


def shard(numbers: range) -> bytes:
    return written_table({"image": [IMAGES[i] for i in numbers], "label": [NUMBERS[i] for i in numbers]})


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-{:05d}-of-00002.parquet", "test-00000-of-00001.parquet"),
        ("data/train-{:05d}-of-00002-0123456789abcdef.parquet", "data/validation-00000-of-00001.parquet"),
        ("default/train/{:04d}.parquet", "default/test/0000.parquet"),
        ("train_{}.parquet", "test.parquet"),
    ],
)
def test_shards_in_an_archive(tmp_path: Path, train: str, test: str) -> None:
    files = {train.format(0): shard(range(6)), train.format(1): shard(range(6, 9)), test: shard(range(9, 12))}
    whole = taking.taken(tmp_path, table())
    for data in (zipped(files | {"README.md": b"x"}), tarred(dict(reversed(files.items())), "w:gz")):
        found = taking.taken(tmp_path, data)
        assert (found.sizes, found.classes) == ((9, 3), ("0", "1", "2"))
        for label in found.classes:
            assert sorted(map(bytes, found.images(label))) == sorted(map(bytes, whole.images(label)))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train-00000-of-00002.parquet": shard(range(6))}, "has 1 of 2 shards of train; number 1 is missing"),
        ({"test.parquet": shard(range(6)), "val.parquet": shard(range(6))}, "no train table beside them"),
        ({"train.parquet": b"PAR1xxxxPAR1", "test.parquet": shard(range(6))}, "train.parquet cannot be read"),
    ],
)
def test_shards_that_are_no_dataset(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    assert words in taking.refusal(tmp_path, zipped(files))


# Bounds


MEASURED = """
import resource, sys
from pathlib import Path
import pyarrow
from addercore.data.intake import BadDataset, take_in
try:
    take_in(Path(sys.argv[1]), Path(sys.argv[2]), "ds_x")
except BadDataset as error:
    print(error)
print(pyarrow.default_memory_pool().max_memory())
"""


@pytest.mark.long("writes a table of gigabytes")
def test_a_small_table_of_one_huge_value_takes_little_memory(tmp_path: Path) -> None:
    """64 rows name a value of 25 MB that the file holds once, packed: decoded together they took 1.6 GiB."""
    data = written_table({"image": [bytes(25_000_000)] * 64, "label": NUMBERS * 5 + NUMBERS[:4]}, compression="zstd")
    assert len(data) < 4000
    path = written(tmp_path, data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path, tmp_path / "out"], check=True, capture_output=True, text=True
    )
    *_, told, most = done.stdout.splitlines()
    assert "archive bomb" in told
    assert int(most) < 200_000_000


def test_a_page_is_measured_by_its_own_header(tmp_path: Path) -> None:
    """The footer says nothing of it that counts."""
    path = written(tmp_path, written_table({"image": [bytes([i]) * 1000 for i in range(9)], "label": [0] * 9}))
    metadata = parquet.ParquetFile(path).metadata
    assert 9000 <= largest_page(path, metadata, {"image"}, Limits()) < 9200
    with pytest.raises(BadDataset, match="archive bomb"):
        largest_page(path, metadata, {"image"}, Limits(free_bytes=1000, ratio=0))
    damaged = bytearray(path.read_bytes())
    damaged[4:40] = bytes(36)
    path.write_bytes(damaged)
    with pytest.raises(BadDataset, match="a page of it has no size"):
        largest_page(path, metadata, {"image"}, Limits())


def test_every_codec_and_page_version_is_measured(tmp_path: Path) -> None:
    for options in (
        {"data_page_version": "2.0"},
        {"compression": "gzip"},
        {"compression": "none"},
        {"use_dictionary": False, "data_page_size": 100},
        {"write_statistics": False, "row_group_size": 2},
    ):
        assert taking.taken(tmp_path, written_table({"image": IMAGES, "label": NUMBERS}, **options)).sizes == (9, 3)
