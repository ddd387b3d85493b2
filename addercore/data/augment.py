"""Augmentations of whole batches, on the images' device. Pixels outside an image are 0, which is black.

Random numbers come from a CPU generator and are drawn for the whole batch at once, so that a batch's bits depend on
the generator only. Images are float32 (n, c, h, w) in 0…1.
"""

from dataclasses import dataclass
from math import exp, floor, log, pi, sqrt
from typing import Final

import torch
import torch.nn.functional as nnf
from torch import Tensor

CROP_PADDING: Final = 4  # pixels, as the CIFAR recipe has it

TURN: Final = 10.0  # degrees, either way
ZOOM: Final = 0.1  # of the size, either way
SHIFT: Final = 1 / 16  # of the size, either way: two pixels of 32

PART_AREA: Final = (0.08, 1.0)  # of the image's area (Szegedy et al. 2015, section 6)
PART_RATIO: Final = (3 / 4, 4 / 3)  # width to height
_ATTEMPTS: Final = 10

Box = tuple[float, float, float, float]
"""top, left, height, width, in pixels"""


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers for the images of a batch, or for those of them that one of several processes computes.

    Attributes:
        generator: on the CPU.
        whole: images of the whole batch; None: those that are asked for are all.
        first: place in the batch of the first image that is asked for.
    """

    generator: torch.Generator
    whole: int | None = None
    first: int = 0

    def integers(self, below: int, n: int, before: tuple[int, ...] = (), after: tuple[int, ...] = ()) -> Tensor:
        """0 … below − 1, (*before, n, *after), for `n` images."""
        drawn = torch.randint(0, below, (*before, self.whole or n, *after), generator=self.generator)
        return drawn.narrow(len(before), self.first, n)

    def uniform(
        self, n: int, before: tuple[int, ...] = (), after: tuple[int, ...] = (), *, double: bool = False
    ) -> Tensor:
        """0 … 1, (*before, n, *after), for `n` images."""
        kind = torch.float64 if double else torch.float32
        drawn = torch.rand((*before, self.whole or n, *after), generator=self.generator, dtype=kind)
        return drawn.narrow(len(before), self.first, n)


def random_crop(images: Tensor, draws: Draws) -> Tensor:
    """Pads each image by 4 pixels and crops it to its size at a random position."""
    n, _, height, width = images.shape
    pad = CROP_PADDING
    padded = nnf.pad(images, (pad, pad, pad, pad))
    offsets = draws.integers(2 * pad + 1, n, before=(2,)).to(images.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, c, 9, 9, h, w), a view
    return windows[torch.arange(n, device=images.device), :, offsets[0], offsets[1]]


def random_flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirrors each image left to right with probability 1/2."""
    flipped = draws.integers(2, len(images), after=(1, 1, 1)).to(images.device, torch.bool)
    return torch.where(flipped, images.flip(3), images)


def random_affine(images: Tensor, draws: Draws) -> Tensor:
    """Rotates each image by up to 10°, scales it by up to 10 % and shifts it by up to 1/16 of its size."""
    n, _, height, width = images.shape
    turn, zoom, right, down = (2 * draws.uniform(n, before=(4,)) - 1).unbind()
    angle, scale = turn * (TURN * pi / 180), 1 + zoom * ZOOM
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # Output positions to input positions, both −1…1 across the image: a turn of pixels has the aspect ratio in it.
    rows = (cos, -sin * (height / width), right * (2 * SHIFT)), (sin * (width / height), cos, down * (2 * SHIFT))
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    return _sampled(images, theta, (height, width), "zeros")


def random_part(images: Tensor, size: tuple[int, int], draws: Draws) -> Tensor:
    """Crops a random part of each image, 8 % to 100 % of its area, and resizes it to `size`, without antialiasing."""
    n, _, height, width = images.shape
    boxes = torch.tensor([random_box(tries, height, width) for tries in attempts(n, draws)])
    top, left, rows, columns = boxes.unbind(1)
    zero = torch.zeros(n)
    theta = torch.stack(
        [
            torch.stack([columns / width, zero, (2 * left + columns) / width - 1], 1),
            torch.stack([zero, rows / height, (2 * top + rows) / height - 1], 1),
        ],
        1,
    )
    return _sampled(images, theta, size, "border")


def _sampled(images: Tensor, theta: Tensor, size: tuple[int, int], outside: str) -> Tensor:
    """Samples `images` bilinearly on the affine grid theta (n, 2, 3) of `size`."""
    shape = [len(images), images.shape[1], *size]
    grid = nnf.affine_grid(theta.to(images.device), shape, align_corners=False)
    return nnf.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def attempts(n: int, draws: Draws) -> list[list[list[float]]]:
    """Random numbers in 0…1 for `random_box`: 10 attempts of 4 numbers for each of n images."""
    found: list[list[list[float]]] = draws.uniform(n, after=(_ATTEMPTS, 4), double=True).tolist()
    return found


def random_box(tries: list[list[float]], height: int, width: int) -> Box:
    """A crop of random area, aspect ratio and position: the first attempt that fits, else the largest central one."""
    low, high = (log(ratio) for ratio in PART_RATIO)
    for area, ratio, down, right in tries:
        size = height * width * (PART_AREA[0] + area * (PART_AREA[1] - PART_AREA[0]))
        shape = exp(low + ratio * (high - low))
        columns, rows = round(sqrt(size * shape)), round(sqrt(size / shape))
        if 0 < columns <= width and 0 < rows <= height:
            return floor(down * (height - rows + 1)), floor(right * (width - columns + 1)), rows, columns
    tall, wide = min(height, width / PART_RATIO[0]), min(width, height * PART_RATIO[1])
    return (height - tall) / 2, (width - wide) / 2, tall, wide
