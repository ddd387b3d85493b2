"""Parquet tables of images and labels."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from addercore.data.intake import BadDataset, Intake, Limits, take_in
from tests.support.uploads import png, written

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
    with pytest.raises(BadDataset, match=r"pip install 'adderworks\[parquet\]'"):
        taken(tmp_path, table())
