"""Datasets by name: as a source that gives images in batches, or whole, as tensors."""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from addercore.config import DATASETS, DatasetInfo, dataset
from addercore.data import cifar, files, folder, idx, sources
from addercore.data.pixels import prepare
from addercore.data.sources import Source, Stored
from addercore.errors import BadData

if TYPE_CHECKING:
    from PIL.Image import Image

Split = Literal["train", "validation"]
SPLITS: Final = get_args(Split)
DIGITS: Final = ("datasets", "data", "digits.csv.gz")
"""Within scikit-learn's folder."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Normalised images (N, c, h, w) in float32, and labels (N,) in int64."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Examples":
        return Examples(self.images.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return self.labels.shape[0]


def _digits(info: DatasetInfo, split: Split) -> Stored:
    """scikit-learn's digits, light strokes (16) on dark (0): (N, 1, 8, 8).

    They are read from that package's file, a row of 64 pixels and a label an image: importing it takes seconds.
    """
    package = find_spec("sklearn")
    if package is None or package.submodule_search_locations is None:
        raise BadData("digits come with scikit-learn: pip install 'adderworks[core]'")
    path = Path(package.submodule_search_locations[0], *DIGITS)
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}); install scikit-learn again") from error
    if table.shape != (info.train_size + info.validation_size, 65):
        raise BadData(f"{path} holds {table.shape[0]} rows that are not the digits; install scikit-learn again")
    part = torch.from_numpy(table[: info.train_size] if split == "train" else table[info.train_size :])
    return Stored(part[:, :64].reshape(-1, 1, 8, 8).contiguous(), part[:, 64].long())


def _mnist(info: DatasetInfo, split: Split, data_dir: Path | None) -> Stored:
    """(N, 1, 28, 28), from IDX files."""
    size = _size(info, split)
    images, labels = files.read(info, data_dir, info.files[:2] if split == "train" else info.files[2:])
    y = idx.parse(labels.data, labels.path, (size,)).long()
    x = idx.parse(images.data, images.path, (size, *info.stored_shape))
    for content in (images, labels):
        content.verify(info)
    return Stored(x[:, None], y)


def _cifar(info: DatasetInfo, split: Split, data_dir: Path | None) -> Stored:
    """(N, 3, 32, 32); the last of `info.files` is the test set."""
    names = info.files[:-1] if split == "train" else info.files[-1:]
    each = _size(info, split) // len(names)
    parts = []
    for content in files.read(info, data_dir, names):
        parts.append(cifar.parse(content.data, content.path, each, labels=2 if info.name == "cifar100" else 1))
        content.verify(info)
    images, labels = zip(*parts, strict=True)
    return Stored(torch.cat(images), torch.cat(labels))


def _size(info: DatasetInfo, split: Split) -> int:
    return info.train_size if split == "train" else info.validation_size


def source(name: str, split: Split, data_dir: Path | None = None) -> Source:
    """A split's images as they are stored, in main memory. Raises `BadData` if files are missing or damaged."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    return read(dataset(name), split, data_dir)


def read(info: DatasetInfo, split: Split, data_dir: Path | None) -> Source:
    """Like `source`, for a dataset that is not registered under its name."""
    found: Source
    if info.name not in DATASETS:
        found = sources.upload(info, data_dir, split)
    elif info.name == "digits":
        found = _digits(info, split)
    elif info.name == "imagenet":
        found = folder.imagenet(info, data_dir, split)
    else:
        found = (_cifar if info.archive else _mnist)(info, split, data_dir)
    low, high = int(found.labels.min()), int(found.labels.max())
    if low < 0 or high >= len(info.classes):
        wrong = low if low < 0 else high
        raise BadData(
            f"the {split} labels of {info.name} have a {wrong}, but its {len(info.classes)} classes are 0 to "
            f"{len(info.classes) - 1}; get its files again"
        )
    return found


def raw(name: str, split: Split, data_dir: Path | None = None) -> tuple[Tensor, Tensor]:
    """All pixels as stored, (N, c, h, w) in 0…1, and labels (N,). Raises `ValueError` if memory cannot hold them."""
    return pixels_of(name, source(name, split, data_dir))


def pixels_of(name: str, found: Source) -> tuple[Tensor, Tensor]:
    """As `raw`, of any images of the dataset."""
    if not found.resident:
        raise ValueError(f"{name} is too large to be held in memory; read it in batches from data.source")
    return found.pixels(torch.arange(len(found))).float() / dataset(name).top, found.labels


def load(name: str, data_dir: Path | None, split: Split) -> Examples:
    """The whole split, ready for a network. Raises `BadData` if files are missing or damaged."""
    info = dataset(name)
    pixels, labels = raw(name, split, data_dir)
    return Examples(prepare(pixels, info.input_shape[1:], info.mean, info.std), labels)


def sample_image(name: str, index: int, split: Split = "validation", data_dir: Path | None = None) -> "Image":
    """One image of a dataset, as it is stored.

    Args:
        name: the dataset.
        index: number of the image in its split, from 0.
        split: "train" or "validation".
        data_dir: folder with the dataset's files; digits need none.

    Returns:
        An 8-bit PIL image, grey or RGB. The digits are light strokes on a dark ground.

    Raises:
        ValueError: an unknown dataset or split, or no image of that number.
        BadData: files of the dataset are missing or damaged.
    """
    from PIL import Image

    found = source(name, split, data_dir)
    if not 0 <= index < len(found):
        raise ValueError(f"index must be from 0 to {len(found) - 1} for the {split} images of {name}, got {index}")
    pixels = found.pixels(torch.tensor([index]))[0].float() / dataset(name).top
    array = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
