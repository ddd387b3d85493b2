"""Folders of image files, one folder for each class. Images are decoded, cropped and resized when they are needed.

Training takes a random part of each image (8 % to 100 % of its area, aspect ratio 3:4 to 4:3), validation the centre:
the middle 7/8 of the shorter side, which is 224 of 256 pixels. Both are the usual ImageNet recipe (Szegedy et al. 2015,
section 6; He et al. 2016, section 3.4), resized with Pillow's bilinear filter, which averages where it shrinks.
"""

import mmap
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from addercore.config import DatasetInfo
from addercore.config.datasets import how_to_get
from addercore.data.augment import Box, Draws, attempts, random_box
from addercore.data.sources import Shared, memory_file
from addercore.errors import BadData

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES: Final = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
CENTRE: Final = 7 / 8  # of the shorter side
_DAMAGE: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What Pillow raises for a file that is no image, or half of one."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Image files below `root`. `names`, (N, width) uint8, are their relative paths, padded with zeros."""

    root: Path
    names: Tensor
    labels: Tensor  # (N,) int64
    shape: tuple[int, int, int]  # (c, h, w) of what it gives

    resident = False
    cuts = True

    def __len__(self) -> int:
        return self.labels.shape[0]

    def to(self, device: torch.device) -> "ImageFolder":
        return self

    def relabelled(self, labels: Tensor) -> "ImageFolder":
        return replace(self, labels=labels)

    def path(self, index: int) -> Path:
        return self.root / os.fsdecode(self.names[index].numpy().tobytes().rstrip(b"\0"))

    def pixels(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        """uint8 (n, c, h, w): the central crop of each image, or with `draws` a random crop."""
        out = np.empty((len(chosen), *self.shape), dtype=np.uint8)
        tries = [None] * len(chosen) if draws is None else attempts(len(chosen), draws)
        for place, (index, drawn) in enumerate(zip(chosen.tolist(), tries, strict=True)):
            out[place] = self._decoded(self.path(index), drawn)
        return torch.from_numpy(out)

    def _decoded(self, path: Path, drawn: list[list[float]] | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(c, h, w)"""
        from PIL import Image

        channels, height, width = self.shape
        try:
            with Image.open(path) as opened:
                image: Image.Image = opened.convert("L" if channels == 1 else "RGB")
            top, left, rows, columns = _centre(image) if drawn is None else random_box(drawn, image.height, image.width)
            part = (left, top, left + columns, top + rows)
            array = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=part))
        except FileNotFoundError as error:
            raise BadData(f"{path} is gone since this training began; put it back, or start again") from error
        except Image.DecompressionBombError as error:
            raise BadData(f"{path} is too large an image ({error}); remove it, or scale it down") from error
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's trouble, not the image's
            raise BadData(f"{path} cannot be read as an image ({error}); replace it") from error
        return array[None] if channels == 1 else array.transpose(2, 0, 1)

    def share(self) -> Shared:
        handle = memory_file(self.names, self.labels)
        shape, width = list(self.shape), self.names.shape[1]
        return Shared(
            {
                "kind": "folder",
                "handle": handle,
                "root": str(self.root),
                "images": len(self),
                "width": width,
                "shape": shape,
            },
            (handle,),
        )


def _centre(image: "Image") -> Box:
    side = min(image.height, image.width) * CENTRE
    return (image.height - side) / 2, (image.width - side) / 2, side, side


def opened_folder(description: dict[str, Any]) -> ImageFolder:
    """The source of `ImageFolder.share`."""
    content = mmap.mmap(description["handle"], 0)
    images, width = description["images"], description["width"]
    names = np.frombuffer(content, dtype=np.uint8, count=images * width).reshape(images, width)
    labels = np.frombuffer(content, dtype=np.int64, offset=names.nbytes, count=images)
    shape = tuple(description["shape"])
    return ImageFolder(Path(description["root"]), torch.from_numpy(names), torch.from_numpy(labels), shape)


def scan(root: Path, folders: list[str], shape: tuple[int, int, int]) -> ImageFolder:
    """The images of `root/FOLDER/*`, by class and then by name. Raises `BadData` for a class without images."""
    paths: list[bytes] = []
    labels: list[int] = []
    empty = []
    for label, folder in enumerate(folders):
        try:
            found = sorted(entry.name for entry in os.scandir(root / folder) if entry.name.lower().endswith(SUFFIXES))
        except (FileNotFoundError, NotADirectoryError):
            found = []
        if not found:
            empty.append(folder)
        paths += [os.fsencode(f"{folder}/{name}") for name in found]
        labels += [label] * len(found)
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise BadData(f"{root} has no images of {shown}; a folder of images for each class is due there")
    table = np.array(paths)  # bytes of one width, filled up with zeros
    names = torch.from_numpy(table.view(np.uint8).reshape(len(paths), table.itemsize))
    return ImageFolder(root, names, torch.tensor(labels, dtype=torch.int64), shape)


def imagenet(info: DatasetInfo, data_dir: Path | None, split: str) -> ImageFolder:
    """ImageNet from `data_dir/imagenet/train/n01440764/….JPEG` and `…/val/…`. `BadData` if images are missing."""
    if data_dir is None:
        raise BadData(f"{info.name} needs a data folder with {' and '.join(info.files)}, from {info.source}")
    root = data_dir / info.name / info.files[0 if split == "train" else 1]
    if not root.is_dir():
        raise BadData(f"{root} is missing. {how_to_get(info, data_dir)}")
    found = scan(root, [name.split()[0] for name in info.classes], info.input_shape)
    size = info.train_size if split == "train" else info.validation_size
    if len(found) != size:
        raise BadData(f"{root} has {len(found)} images where {info.name} has {size}; unpack its archive there again")
    return found
