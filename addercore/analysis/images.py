"""The images of a dataset for an analysis, in batches, so that a large set need not fit into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from addercore.config import DatasetInfo, Holdout, Part
from addercore.data import Preprocess, part
from addercore.train.batches import generator

BATCH: Final = 256
MAX_IMAGES: Final = 10_000
"""Images of a split that an analysis uses, at most; of a larger split they are evenly spread over it."""


class Images:
    """A part of a dataset. `normalisation` (mean, std) replaces the dataset's; `shuffled` permutes the labels."""

    def __init__(
        self,
        info: DatasetInfo,
        which: Part,
        data_dir: Path | None,
        device: torch.device,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
        shuffled: bool = False,
        holdout: Holdout | None = None,
    ) -> None:
        self._source = part(info.name, which, data_dir, holdout)
        self._labels = shuffled_labels(self._source.labels) if shuffled else self._source.labels
        mean, std = normalisation or (info.mean, info.std)
        self._preprocess = Preprocess(info.input_shape[1:], mean, std, info.top, device)
        self._device = device

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, c, h, w) and labels (n,) by their indices `chosen`, on the device."""
        pixels = self._source.pixels(chosen).to(self._device)
        return self._preprocess(pixels), self._labels[chosen].to(self._device)

    def first(self, seed: int, count: int) -> tuple[Tensor, Tensor]:
        """The first batch of a training with that seed, without augmentation."""
        order = torch.randperm(len(self._source), generator=generator(seed, "order", 0))
        return self.take(order[:count])

    def batches(self, whole: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order in batches; of a large split 10,000 of them, unless `whole`."""
        size = len(self._source)
        chosen = torch.arange(size) if whole or size <= MAX_IMAGES else torch.arange(MAX_IMAGES) * size // MAX_IMAGES
        for some in torch.split(chosen, BATCH):
            yield self.take(some)


def shuffled_labels(labels: Tensor) -> Tensor:
    """The control's labels: a permutation of `labels`, the same for every training."""
    order = torch.randperm(len(labels), generator=generator("permuted labels"))
    return labels[order.to(labels.device)]
