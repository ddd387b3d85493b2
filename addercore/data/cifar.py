"""CIFAR's files: the binary version, and the Python one, whose pickles are read by a reader that runs nothing.

Binary: records of one label (CIFAR-100: coarse, then fine) and 3 · 32 · 32 bytes, red first. Python: a dictionary with
`data` (N, 3072) of the same bytes and `labels`, or `fine_labels` and `coarse_labels`.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. Importing this module loads no torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from addercore.data.pickles import BadPickle, read_plain
from addercore.errors import BadData

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, np.dtype[np.uint8]]

_SHAPE: Final = (3, 32, 32)
_PIXELS: Final = 3 * 32 * 32
PYTHON_FILES: Final = {
    "cifar10": (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    "cifar100": ("train", "test"),
}
"""Files of the Python version, in the order of the binary ones."""
PYTHON_META: Final = {"cifar10": "batches.meta", "cifar100": "meta"}
PYTHON_ARCHIVES: Final = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


def parse(raw: bytes, path: Path, images: int, labels: int) -> "tuple[Tensor, Tensor]":
    """uint8 (images, 3, 32, 32), int64 (images,) of `raw` (of `path`), whose records begin with `labels` bytes, of
    which the last is the label; `BadData` unless it holds exactly `images` of them."""
    import torch

    record = labels + _PIXELS
    if len(raw) != images * record:
        raise BadData(
            f"{path} is truncated or damaged: {len(raw)} bytes where {images} records of {record} are due; "
            "download it again"
        )
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(images, record)
    return records[:, labels:].reshape(images, *_SHAPE), records[:, labels - 1].long()


def python_batch(raw: bytes) -> tuple[Array, dict[str, Array]]:
    """Images (N, 3, 32, 32) and labels (N,) by name of a file of the Python version.

    Raises:
        BadPickle: it is none.
    """
    found = read_plain(raw)
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        raise BadPickle(f"holds no array data (N, {_PIXELS})")
    labels: dict[str, Array] = {}
    for name in ("labels", "fine_labels", "coarse_labels"):
        values = found.get(name)
        if not isinstance(values, list):
            continue
        if len(values) != len(data) or not all(isinstance(value, int) and 0 <= value < 256 for value in values):
            raise BadPickle(f"holds {name} that do not fit its {len(data):,} images")
        labels[name] = np.array(values, dtype=np.uint8)
    if not labels:
        raise BadPickle("holds no labels")
    return data.reshape(-1, *_SHAPE), labels


def python_names(raw: bytes) -> dict[str, list[str]]:
    """Names of classes of `batches.meta` or `meta`, by the name of their labels.

    Raises:
        BadPickle: it is none.
    """
    found = read_plain(raw)
    names: dict[str, list[str]] = {}
    for key, value in found.items() if isinstance(found, dict) else ():
        if isinstance(key, str) and key.endswith("label_names") and isinstance(value, list):
            texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in value]
            names[key.replace("label_names", "labels")] = texts
    return names


def to_binary(raw: bytes) -> bytes:
    """A file of the Python version as one of the binary version, byte for byte.

    Raises:
        BadPickle: it is none.
    """
    images, labels = python_batch(raw)
    columns = [labels[name][:, None] for name in ("coarse_labels", "fine_labels", "labels") if name in labels]
    return np.concatenate([*columns, images.reshape(len(images), -1)], axis=1).tobytes()
