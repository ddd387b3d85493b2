"""Sources of images: `Stored` keeps them as a tensor of bytes, `ImageFolder` (folder.py) decodes files.

A source returns bytes, (n, c, h, w) uint8; they are scaled, resized, normalised and augmented later, in batches on the
device. The bytes depend only on the images asked for and on the draws, so that a loader process, which opens the
same source by its `share`, makes the same bytes as the training would.
"""

import json
import mmap
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from addercore.config import DatasetInfo
from addercore.data.augment import Draws
from addercore.errors import BadData

RESIDENT = 2 * 2**30
"""Bytes of images up to which a set lives on the device. Beyond, batches are gathered from the file's mapping."""


@dataclass(frozen=True, slots=True)
class Shared:
    """How another process opens a source: a JSON description, and file handles that it must inherit."""

    description: dict[str, Any]
    handles: tuple[int, ...] = ()

    def close(self) -> None:
        """Closes this process's copies of the handles; inherited ones stay open."""
        for handle in self.handles:
            os.close(handle)


class Source(Protocol):
    """Images in their stored order, and their labels."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the CPU."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of an image that `pixels` returns."""
        ...

    @property
    def resident(self) -> bool:
        """Whether the images fit into memory; `to` moves only those to a device."""
        ...

    @property
    def cuts(self) -> bool:
        """Whether `pixels` crops and resizes images itself, at random if it gets `draws`."""
        ...

    def __len__(self) -> int: ...

    def pixels(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        """uint8 (n, c, h, w) of the images with indices `chosen` (n,). `BadData` names a damaged file."""
        ...

    def to(self, device: torch.device) -> Self: ...

    def relabelled(self, labels: Tensor) -> Self:
        """The same images with other labels (N,)."""
        ...

    def share(self) -> Shared: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """images (N, c, h, w) uint8, in memory, on a device, or mapped from `origin`; labels (N,) int64."""

    images: Tensor
    labels: Tensor
    origin: tuple[Path, str] | None = None  # an uploaded dataset's file, and the split

    cuts = False

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def resident(self) -> bool:
        return self.origin is None or self.images.nbytes <= RESIDENT

    def __len__(self) -> int:
        return self.labels.shape[0]

    def pixels(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        return self.images[chosen.to(self.images.device)]

    def to(self, device: torch.device) -> "Stored":
        return replace(self, images=self.images.to(device)) if self.resident else self

    def relabelled(self, labels: Tensor) -> "Stored":
        return replace(self, labels=labels)

    def share(self) -> Shared:
        """Shares by a memory file (images, then labels), or by the path of a file that can be mapped."""
        if self.origin is not None:
            path, split = self.origin
            return Shared({"kind": "upload", "path": str(path), "split": split})
        handle = memory_file(self.images, self.labels)
        return Shared({"kind": "memory", "handle": handle, "shape": list(self.images.shape)}, (handle,))


def memory_file(*tensors: Tensor) -> int:
    """A memory file with the bytes of the tensors one after the other, for other processes to map."""
    handle = os.memfd_create("adder-images")
    with open(handle, "wb", closefd=False) as file:
        for tensor in tensors:
            file.write(tensor.cpu().contiguous().numpy().data.cast("B"))
    return handle


def opened_memory(description: dict[str, Any]) -> Stored:
    """The source of `Stored.share`, without a copy."""
    shape = tuple(description["shape"])
    content = mmap.mmap(description["handle"], 0)  # writable, as torch wants it; nothing writes
    images = np.frombuffer(content, dtype=np.uint8, count=int(np.prod(shape)))
    labels = np.frombuffer(content, dtype=np.int64, offset=images.nbytes, count=shape[0])
    return Stored(torch.from_numpy(images).view(shape), torch.from_numpy(labels))


def mapped(path: Path, split: str) -> Stored:
    """A split of an uploaded dataset, `SPLIT_images` (N, c, h, w) uint8 and `SPLIT_labels` (N,) int64 of a safetensors
    file; its images are read when they are asked for."""
    try:
        with safe_open(path, "np") as file:  # checks the whole header
            labels = torch.from_numpy(file.get_tensor(f"{split}_labels"))
            part = file.get_slice(f"{split}_images")
            kind, shape = part.get_dtype(), part.get_shape()
    except (SafetensorError, OSError) as error:
        raise BadData(f"{path} cannot be read ({error}); upload the dataset again") from error
    if kind != "U8" or len(shape) != 4 or labels.dtype != torch.int64 or labels.ndim != 1:
        raise BadData(
            f"{path} holds {kind} {tuple(shape)} and {labels.dtype} {tuple(labels.shape)} where U8 (N, c, h, w) and "
            "torch.int64 (N,) are due; upload the dataset again"
        )
    return Stored(_mapped(path, f"{split}_images", tuple(shape)), labels, (path, split))


def _mapped(path: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """Maps a tensor of a safetensors file; shared mappings do not count towards a process's memory limit."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
    array = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length + begin, shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)  # nothing writes


def upload(info: DatasetInfo, data_dir: Path | None, split: str) -> Stored:
    """A split of a user's dataset, `data_dir/ID.safetensors`. `BadData` if it does not match `info`."""
    if data_dir is None:
        raise BadData(f"{info.name} needs a data folder with {info.name}.safetensors")
    path = data_dir / f"{info.name}.safetensors"
    if not path.is_file():
        raise BadData(f"{path} is missing; upload the dataset again")
    source = mapped(path, split)
    size = info.train_size if split == "train" else info.validation_size
    expected = (size, info.input_shape[0], *info.stored_shape)
    if tuple(source.images.shape) != expected or len(source.labels) != size:
        raise BadData(
            f"{path} holds {tuple(source.images.shape)} {split} images and {len(source.labels)} labels, but {expected} "
            "is expected; upload the dataset again"
        )
    return source
