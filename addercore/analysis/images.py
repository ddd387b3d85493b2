"""A dataset's images for an analysis, in batches: never a large set in memory as a whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from addercore.config import DatasetInfo
from addercore.data import Preprocess, Split, source
from addercore.train.batches import generator

BATCH: Final = 256
MAX_IMAGES: Final = 10_000
"""Images of a split that a picture is computed from: evenly spread over it, where it has more."""


class Images:
    """A split, normalised as its dataset says or by a model's `mean` and `std`; `shuffled`: the control's labels."""

    def __init__(
        self,
        info: DatasetInfo,
        split: Split,
        data_dir: Path | None,
        device: torch.device,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
        shuffled: bool = False,
    ) -> None:
        self._source = source(info.name, split, data_dir)
        self._labels = shuffled_labels(self._source.labels) if shuffled else self._source.labels
        mean, std = normalisation or (info.mean, info.std)
        self._preprocess = Preprocess(info.input_shape[1:], mean, std, info.top, device)
        self._device = device

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) and labels (n,) of the images with the numbers `chosen`, on the device."""
        pixels = self._source.pixels(chosen).to(self._device)
        return self._preprocess(pixels), self._labels[chosen].to(self._device)

    def first(self, seed: int, count: int) -> tuple[Tensor, Tensor]:
        """The first batch of a training with that seed, without augmentation."""
        order = torch.randperm(len(self._source), generator=generator(seed, "order", 0))
        return self.take(order[:count])

    def batches(self, whole: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, or unless `whole` of a large split 10,000 of them."""
        size = len(self._source)
        chosen = torch.arange(size) if whole or size <= MAX_IMAGES else torch.arange(MAX_IMAGES) * size // MAX_IMAGES
        for part in torch.split(chosen, BATCH):
            yield self.take(part)


def shuffled_labels(labels: Tensor) -> Tensor:
    """The control's labels: the same ones, each given to some other image; the same shuffle for every training."""
    order = torch.randperm(len(labels), generator=generator("permuted labels"))
    return labels[order.to(labels.device)]
