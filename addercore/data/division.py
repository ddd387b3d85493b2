"""The parts of a dataset in a training: images that train, images that validate, and the published test images."""

import hashlib
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from addercore.config import Holdout, Part
from addercore.data import folder, sources
from addercore.data.augment import Draws
from addercore.data.seeds import generator
from addercore.data.sets import source
from addercore.data.sources import Shared, Source, Stored, memory_file


def part(name: str, which: Part, data_dir: Path | None = None, holdout: Holdout | None = None) -> Source:
    """The images of a part. Raises as `source`, and `ValueError` for an unknown part or too small a holdout.

    Args:
        name: the dataset.
        which: "train", "validation" or "test".
        data_dir: folder with the dataset's files; digits need none.
        holdout: what of the training images validates; None: the published test images do.
    """
    if which not in ("train", "validation", "test"):
        raise ValueError(f"unknown split {which!r}; known: train, validation, test")
    if which == "test" or holdout is None:
        return source(name, "train" if which == "train" else "validation", data_dir)
    both = parts(name, data_dir, holdout)
    return both.train if which == "train" else both.validation


@dataclass(frozen=True, slots=True)
class Parts:
    """The images of a training, and a record of those that validate it."""

    train: Source
    validation: Source
    record: dict[str, Any]


def parts(name: str, data_dir: Path | None, holdout: Holdout | None) -> Parts:
    """The images that train and those that validate. Raises as `part`."""
    if holdout is None:
        validation = source(name, "validation", data_dir)
        return Parts(source(name, "train", data_dir), validation, {"of": "test", "images": len(validation)})
    whole = source(name, "train", data_dir)
    held = held_out(whole.labels, holdout)
    kept = torch.ones(len(whole), dtype=torch.bool)
    kept[held] = False
    record = {"of": "train", "images": len(held), "holdout": holdout.share, "seed": holdout.seed}
    return Parts(
        subset(whole, kept.nonzero()[:, 0]), subset(whole, held), record | {"indices_sha256": fingerprint(held)}
    )


def held_out(labels: Tensor, holdout: Holdout) -> Tensor:
    """Indices (n,), rising, of the training images that are held out.

    Each class gives its share, rounded by largest remainder so that the total is `holdout.count`; which of its images
    is drawn by the seed.

    Args:
        labels: (N,) int64, of all training images.
        holdout: the share, and the seed.

    Raises:
        ValueError: none would be left on one of the sides.
    """
    total, count = len(labels), holdout.count(len(labels))
    if not 0 < count < total - 1:
        raise ValueError(f"a holdout of {holdout.share:g} takes {count} of {total} training images; give another share")
    of_class = torch.bincount(labels)
    quotas = of_class * count  # in units of 1 / total
    taken = quotas // total
    remainders = quotas - taken * total
    most = torch.argsort(remainders, descending=True, stable=True)
    taken[most[: count - int(taken.sum())]] += 1
    order = torch.randperm(total, generator=generator(holdout.seed, "holdout"))
    drawn = [order[labels[order] == label][:number] for label, number in enumerate(taken.tolist())]
    return torch.cat(drawn).sort().values


def fingerprint(indices: Tensor) -> str:
    """sha256 of indices (n,) as little-endian 64-bit integers: equal if and only if the images are the same."""
    return hashlib.sha256(indices.numpy().astype("<i8").tobytes()).hexdigest()


def subset(whole: Source, chosen: Tensor) -> Source:
    """The images of `whole` with the indices `chosen` (n,): copied where it fits into memory, else by reference."""
    if whole.resident:
        return Stored(whole.pixels(chosen), whole.labels[chosen])
    return Subset(whole, chosen, whole.labels[chosen])


@dataclass(frozen=True, slots=True)
class Subset:
    """Images of a source that is too large to be copied."""

    whole: Source
    chosen: Tensor  # (n,) int64, on the CPU
    labels: Tensor  # (n,) int64

    resident = False

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.whole.shape

    @property
    def cuts(self) -> bool:
        return self.whole.cuts

    def __len__(self) -> int:
        return self.labels.shape[0]

    def pixels(self, chosen: Tensor, draws: Draws | None = None) -> Tensor:
        return self.whole.pixels(self.chosen[chosen.cpu()], draws)

    def to(self, device: torch.device) -> "Subset":
        return self

    def relabelled(self, labels: Tensor) -> "Subset":
        return replace(self, labels=labels)

    def share(self) -> Shared:
        """Shares the whole source, and the indices and labels by a memory file."""
        inner, handle = self.whole.share(), memory_file(self.chosen, self.labels)
        description = {"kind": "subset", "whole": inner.description, "handle": handle, "images": len(self)}
        return Shared(description, (*inner.handles, handle))


def opened(description: dict[str, Any]) -> Source:
    """The source that `Source.share` of another process described."""
    match description["kind"]:
        case "memory":
            return sources.opened_memory(description)
        case "upload":
            return sources.mapped(Path(description["path"]), description["split"])
        case "subset":
            return _opened_subset(description)
        case kind:
            assert kind == "folder"  # for types: there is no fifth
            return folder.opened_folder(description)


def _opened_subset(description: dict[str, Any]) -> Subset:
    content = mmap.mmap(description["handle"], 0)
    count = description["images"]
    both = np.frombuffer(content, dtype=np.int64, count=2 * count)
    chosen, labels = (torch.from_numpy(half) for half in (both[:count], both[count:]))
    return Subset(opened(description["whole"]), chosen, labels)
