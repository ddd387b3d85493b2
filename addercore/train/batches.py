"""The order and the augmentation of a run's images: functions of seed, epoch and batch, so that resuming is exact."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from addercore.config import TrainConfig, dataset
from addercore.data import Preprocess, Source
from addercore.data.augment import Draws
from addercore.data.pixels import Resized
from addercore.data.seeds import generator as generator


@dataclass(frozen=True, slots=True)
class Shard:
    """The images of each batch that one of several processes computes.

    The parts of the processes lie side by side in the order of ranks, of equal size where the batch can be divided so.
    A batch of fewer than two images for each process is rank 0's alone, since an image by itself has no batch
    statistics.

    Attributes:
        rank: number of the process, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def sizes(self, images: int) -> list[int]:
        """How many images of a batch of `images` each process has; one number where the batch is not divided."""
        if self.processes == 1 or images < 2 * self.processes:
            return [images]
        edges = [rank * images // self.processes for rank in range(self.processes + 1)]
        return [end - begin for begin, end in pairwise(edges)]

    def part(self, images: int) -> slice:
        """Where in a batch of `images` this process's own are; an empty slice if it has none."""
        sizes = self.sizes(images)
        first = sum(sizes[: self.rank])
        return slice(first, first + (sizes[self.rank] if self.rank < len(sizes) else 0))


class Batches:
    """The training images in batches, in each epoch's own order, and in groups of batches that make one step.

    A batch starts as bytes from the source (`pixels`, which loader processes can make) and becomes the network's input
    on the device (`images`). Of several processes each makes its own part of every batch: the same images, augmented
    by the same random numbers, as in the batch of one process.
    """

    def __init__(self, source: Source, config: TrainConfig, device: torch.device, shard: Shard = Shard()) -> None:
        self.source, self.config, self.device, self.shard = source, config, device, shard
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

    def indices(self, step: int) -> range:
        """The batches of which step `step` of an epoch (from 0) takes the gradient."""
        return range(*self._range(step))

    def part(
        self, epoch: int, order: Tensor, index: int, take: Callable[[], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """(images, labels) of this process's part of batch `index`.

        `take` returns the pixels of the next batch from loader processes; without it they are made here.
        """
        chosen = self._chosen(order, index)
        if take is not None:
            pixels = take()
        elif self.kept is not None:
            pixels = self.kept[chosen]
        else:
            pixels = self.pixels(epoch, order, index)
        return self.images(pixels, epoch, index), self.labels[chosen.to(self.device)]

    @cached_property
    def kept(self) -> Resized | None:
        """The images at the network's size; None where batches are resized one by one."""
        return None if self.config.augment == "imagenet" else self.preprocess.kept(self.source)

    def pixels(self, epoch: int, order: Tensor, index: int) -> Tensor:
        """The pixels of this process's part of a batch, as bytes. They depend on seed, epoch and index only."""
        cut = None
        if self.config.augment == "imagenet" and self.source.cuts:
            cut = self._draws("cut", epoch, index)
        return self.source.pixels(self._chosen(order, index), cut)

    def images(self, pixels: Tensor, epoch: int, index: int) -> Tensor:
        """The network's input for the part of `pixels` (bytes, or of `kept`): on the device, normalised, augmented."""
        augment = self.config.augment
        draws = None if augment == "none" else self._draws(augment, epoch, index)
        return self.preprocess(pixels.to(self.device, non_blocking=True), augment, draws, self.source.cuts)

    def _draws(self, what: str, epoch: int, index: int) -> Draws:
        whole = self.size(index)
        return Draws(generator(self.config.seed, what, epoch, index), whole, self.shard.part(whole).start)

    def from_position(self, epoch: int, index: int) -> Iterator[tuple[int, int]]:
        """Yields (epoch, index) of every batch from the given one to the end of the run."""
        for later in range(epoch, self.config.epochs):
            yield from ((later, i) for i in range(index if later == epoch else 0, self.per_epoch))

    def size(self, index: int) -> int:
        """Number of images in batch `index` of an epoch."""
        return min(self.config.batch_size, len(self.source) - index * self.config.batch_size)

    def own(self, index: int) -> int:
        """Number of images in this process's part of batch `index`."""
        sizes = self.shard.sizes(self.size(index))
        return sizes[self.shard.rank] if self.shard.rank < len(sizes) else 0

    def _chosen(self, order: Tensor, index: int) -> Tensor:
        size = self.config.batch_size
        return order[index * size : (index + 1) * size][self.shard.part(self.size(index))]
