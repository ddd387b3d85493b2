"""Datasets as tensors: stored pixels, then scaled, resized and normalised as their `DatasetInfo` says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch
from torch import Tensor

from addercore.data import idx
from addercore.data.pixels import prepare
from addercore.errors import BadData
from addercore.spec import DatasetInfo, dataset

if TYPE_CHECKING:
    from PIL.Image import Image

Split = Literal["train", "validation"]
SPLITS: Final = get_args(Split)


@dataclass(frozen=True, slots=True)
class Examples:
    """images (N, c, h, w) float32, normalised; labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Examples":
        return Examples(self.images.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return self.labels.shape[0]


def _digits(info: DatasetInfo, split: Split) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, light strokes (16) on dark (0): (N, 1, 8, 8) in 0…1, labels."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise BadData("digits come with scikit-learn: pip install 'adderworks[data]'") from error
    bunch = load_digits()
    part = slice(0, info.train_size) if split == "train" else slice(info.train_size, None)
    pixels = torch.tensor(bunch.images[part], dtype=torch.float32) / 16
    return pixels[:, None], torch.tensor(bunch.target[part], dtype=torch.int64)


def _mnist(info: DatasetInfo, split: Split, data_dir: Path | None) -> tuple[Tensor, Tensor]:
    """(N, 1, 28, 28) in 0…1, labels; from the IDX files in `data_dir/mnist` or in `data_dir` itself."""
    if data_dir is None:
        raise BadData(f"mnist needs a data folder with {', '.join(info.files)} (or .gz), from {info.source}")
    folder = data_dir / "mnist" if (data_dir / "mnist").is_dir() else data_dir
    images, labels = info.files[:2] if split == "train" else info.files[2:]
    size = info.train_size if split == "train" else info.validation_size
    label_path = idx.find(folder, labels, info.source)
    y = idx.read(label_path, (size,)).long()
    if y.max() >= len(info.classes):
        raise BadData(f"{label_path} has a label {int(y.max())}; mnist's are 0 to 9; download it again")
    x = idx.read(idx.find(folder, images, info.source), (size, *info.stored_shape))
    return x[:, None].float() / 255, y


def raw(name: str, split: Split, data_dir: Path | None = None) -> tuple[Tensor, Tensor]:
    """Pixels as stored, (N, c, h, w) in 0…1, and labels (N,)."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    info = dataset(name)
    return _digits(info, split) if name == "digits" else _mnist(info, split, data_dir)


def load(name: str, data_dir: Path | None, split: Split) -> Examples:
    """The split, ready for a network; `BadData` where files are missing or damaged."""
    info = dataset(name)
    pixels, labels = raw(name, split, data_dir)
    return Examples(prepare(pixels, info.input_shape[1:], info.mean, info.std), labels)


def sample_image(name: str, index: int, split: Split = "validation", data_dir: Path | None = None) -> "Image":
    """One image of a dataset as it is stored, as an 8-bit PIL image: light strokes on dark, 0…255."""
    from PIL import Image

    pixels, _ = raw(name, split, data_dir)
    if not 0 <= index < len(pixels):
        raise ValueError(f"index must be from 0 to {len(pixels) - 1} for the {split} images of {name}, got {index}")
    return Image.fromarray((pixels[index, 0] * 255).round().to(torch.uint8).numpy())
