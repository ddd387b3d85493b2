"""The order and the augmentation of a run's images: functions of seed, epoch and batch, so that resuming is exact."""

import hashlib
from collections.abc import Callable, Iterator
from math import ceil, cos, pi

import torch
from torch import Tensor

from addercore.config import OptimizerConfig, TrainConfig, dataset
from addercore.data import Preprocess, Source


def generator(*key: int | str) -> torch.Generator:
    """A new CPU generator, seeded by the words of `key`."""
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def learning_rate(config: OptimizerConfig, epoch: int, epochs: int) -> float:
    """γ of `epoch` (from 0): constant, or lr · (1 + cos(π · epoch / epochs)) / 2, as in the paper's recipes."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * (1 + cos(pi * epoch / epochs)) / 2


class Batches:
    """The training images in batches, in each epoch's own order, and in groups of batches that make one step.

    A batch starts as bytes from the source (`pixels`, which loader processes can make) and becomes the network's input
    on the device (`images`).
    """

    def __init__(self, source: Source, config: TrainConfig, device: torch.device) -> None:
        self.source, self.config, self.device = source, config, device
        self.preprocess = Preprocess.of(dataset(config.dataset.name), device)
        self.labels = source.labels.to(device)
        full, rest = divmod(len(source), config.batch_size)
        self.per_epoch = full + (rest > 1)  # one image alone has no batch statistics: it sits this epoch out
        self.steps_per_epoch = ceil(self.per_epoch / config.optimizer.accumulate)

    def permutation(self, epoch: int) -> Tensor:
        """Indices of the images in the order of `epoch` (from 0), on the CPU."""
        return torch.randperm(len(self.source), generator=generator(self.config.seed, "order", epoch))

    def _range(self, step: int) -> tuple[int, int]:
        """The batches [first, last) of which step `step` of an epoch (from 0) takes the gradient."""
        first = step * self.config.optimizer.accumulate
        return first, min(first + self.config.optimizer.accumulate, self.per_epoch)

    def images_in(self, step: int) -> int:
        first, last = self._range(step)
        size = self.config.batch_size
        return min(last * size, len(self.source)) - first * size

    def group(
        self, epoch: int, order: Tensor, step: int, take: Callable[[], Tensor] | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (images, labels) of each batch of step `step`.

        `take` returns the pixels of the next batch from loader processes; without it they are made here.
        """
        for index in range(*self._range(step)):
            chosen = self._chosen(order, index)
            pixels = self.pixels(epoch, order, index) if take is None else take()
            yield self.images(pixels, epoch, index), self.labels[chosen.to(self.device)]

    def pixels(self, epoch: int, order: Tensor, index: int) -> Tensor:
        """The pixels of one batch, as bytes. They depend on seed, epoch and index only."""
        cut = None
        if self.config.augment == "imagenet" and self.source.cuts:
            cut = generator(self.config.seed, "cut", epoch, index)
        return self.source.pixels(self._chosen(order, index), cut)

    def images(self, pixels: Tensor, epoch: int, index: int) -> Tensor:
        """The network's input for the batch of `pixels`: on the device, normalised and augmented."""
        augment = self.config.augment
        draws = None if augment == "none" else generator(self.config.seed, augment, epoch, index)
        return self.preprocess(pixels.to(self.device, non_blocking=True), augment, draws, self.source.cuts)

    def from_position(self, epoch: int, index: int) -> Iterator[tuple[int, int]]:
        """Yields (epoch, index) of every batch from the given one to the end of the run."""
        for later in range(epoch, self.config.epochs):
            yield from ((later, i) for i in range(index if later == epoch else 0, self.per_epoch))

    def size(self, index: int) -> int:
        """Number of images in batch `index` of an epoch."""
        return min(self.config.batch_size, len(self.source) - index * self.config.batch_size)

    def _chosen(self, order: Tensor, index: int) -> Tensor:
        size = self.config.batch_size
        return order[index * size : (index + 1) * size]
