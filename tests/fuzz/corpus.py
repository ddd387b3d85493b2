"""Small uploads of every format that is taken, as a start for mutations."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.api.attempt import model_file
from tests.support.uploads import arrays, folders, npz, png, tarred, zipped

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def picture_folders(format: str, **options: Any) -> dict[str, bytes]:
    return folders("cat", "dog", images=3, format=format, **options)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """The format of MNIST's files."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


def mnist() -> dict[str, bytes]:
    made = arrays(20)
    images, labels = idx(made["images"]), idx(made["labels"])
    parts = {"train": "train", "t10k": "t10k"}
    return {f"{name}-images-idx3-ubyte.gz": gzip.compress(images, mtime=0) for name in parts} | {
        f"{name}-labels-idx1-ubyte.gz": gzip.compress(labels, mtime=0) for name in parts
    }


def keras() -> bytes:
    made = arrays()
    x, y = made["images"], made["labels"]
    return npz(x_train=x, y_train=y, x_test=x, y_test=y)


def parquet() -> bytes:
    rows = [{"image": {"bytes": png(n), "path": f"{n}.png"}, "label": n % 3} for n in range(12)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


CORPUS: dict[str, Callable[[], bytes]] = {
    **{f"zip of {name}": lambda name=name: zipped(picture_folders(name)) for name in FORMATS},  # type: ignore[misc]
    "zip of colour": lambda: zipped(picture_folders("PNG", channels=3)),
    "zip of 16 bit": lambda: zipped(folders("a", "b", prefix="train/") | folders("a", "b", prefix="test/")),
    "tar": lambda: tarred(picture_folders("PNG")),
    "tar.gz": lambda: tarred(picture_folders("JPEG"), "w:gz"),
    "mnist": lambda: zipped(mnist()),
    "npz": lambda: npz(**arrays()),
    "npz of keras": keras,
    "npz with names": lambda: npz(**arrays(), classes=np.array(["a", "b", "c", "d"])),
    "npz of floats": lambda: npz(images=arrays()["images"] / 255.0, labels=arrays()["labels"]),
    "parquet": parquet,
}
PICTURES: dict[str, Callable[[], bytes]] = {
    name: lambda name=name: png(1, (12, 12), format=name)
    for name in FORMATS  # type: ignore[misc]
}
MODEL = model_file
