"""Augmentation of batches: against a plain bilinear reference, within its bounds, and from the generator alone."""

from math import cos, floor, pi, sin
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from addercore.config import dataset
from addercore.data import Preprocess, source
from addercore.data.augment import (
    PART_AREA,
    PART_RATIO,
    SHIFT,
    TURN,
    ZOOM,
    Draws,
    attempts,
    random_affine,
    random_box,
    random_crop,
    random_flip,
    random_part,
)
from addercore.train.batches import Batches

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def at(image: np.ndarray[Any, Any], y: float, x: float, border: bool) -> np.ndarray[Any, Any]:
    """Bilinear value (c,) of (c, H, W) at a place in pixels, (0, 0) being the first pixel's centre."""
    height, width = image.shape[1:]
    if border:
        y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    total = np.zeros(image.shape[0])
    for row in (floor(y), floor(y) + 1):
        for column in (floor(x), floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if 0 <= row < height and 0 <= column < width:
                total += weight * image[:, row, column]
    return total


def test_random_crop_moves_whole_images_over_black() -> None:
    images = torch.arange(1, 2 * 3 * 6 * 5 + 1, dtype=torch.float32).view(2, 3, 6, 5)
    seen = set()
    for seed in range(200):
        cropped = random_crop(images, seeded(seed))
        assert cropped.shape == images.shape
        for n in range(2):
            canvas = torch.zeros(3, 14, 13)
            canvas[:, 4:10, 4:9] = images[n]
            places = [
                (dy, dx)
                for dy in range(9)
                for dx in range(9)
                if torch.equal(canvas[:, dy : dy + 6, dx : dx + 5], cropped[n])
            ]
            assert places
            seen.add(places[0])
    assert len(seen) > 60  # of 81 places


def test_random_flip_mirrors_about_half() -> None:
    images = torch.rand(400, 1, 3, 4, generator=seeded().generator)
    flipped = random_flip(images, seeded(1))
    mirrored = [torch.equal(after, before.flip(2)) for after, before in zip(flipped, images, strict=True)]
    kept = [torch.equal(after, before) for after, before in zip(flipped, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_random_affine_is_a_turn_a_scale_and_a_shift_of_pixels() -> None:
    n, height, width = 5, 9, 14
    images = torch.rand(n, 2, height, width, generator=seeded().generator)
    found = random_affine(images, seeded(7))
    drawn = 2 * torch.rand((4, n), generator=seeded(7).generator) - 1
    for image, result, (turn, zoom, right, down) in zip(images.numpy(), found.numpy(), drawn.T.tolist(), strict=True):
        angle, scale = turn * TURN * pi / 180, 1 + zoom * ZOOM
        for row in range(height):
            for column in range(width):
                dy, dx = row - (height - 1) / 2, column - (width - 1) / 2
                y = (sin(angle) * dx + cos(angle) * dy) / scale + down * SHIFT * height + (height - 1) / 2
                x = (cos(angle) * dx - sin(angle) * dy) / scale + right * SHIFT * width + (width - 1) / 2
                np.testing.assert_allclose(result[:, row, column], at(image, y, x, border=False), atol=1e-4)


def test_random_part_is_the_box_at_the_wanted_size() -> None:
    n, height, width, size = 4, 12, 20, (7, 5)
    images = torch.rand(n, 3, height, width, generator=seeded().generator)
    found = random_part(images, size, seeded(3))
    assert found.shape == (n, 3, *size)
    for image, result, tries in zip(images.numpy(), found.numpy(), attempts(n, seeded(3)), strict=True):
        top, left, rows, columns = random_box(tries, height, width)
        for row in range(size[0]):
            for column in range(size[1]):
                y, x = top + (row + 0.5) * rows / size[0] - 0.5, left + (column + 0.5) * columns / size[1] - 0.5
                np.testing.assert_allclose(result[:, row, column], at(image, y, x, border=True), atol=1e-4)


def test_random_boxes_lie_inside_and_keep_their_bounds() -> None:
    height, width = 300, 400
    boxes = [random_box(tries, height, width) for tries in attempts(500, seeded())]
    shares = [rows * columns / (height * width) for _, _, rows, columns in boxes]
    ratios = [columns / rows for _, _, rows, columns in boxes]
    assert all(0 <= top <= top + rows <= height for top, _, rows, _ in boxes)
    assert all(0 <= left <= left + columns <= width for _, left, _, columns in boxes)
    assert PART_AREA[0] * 0.97 < min(shares) < 0.12
    assert 0.8 < max(shares) <= 1
    assert PART_RATIO[0] * 0.97 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < PART_RATIO[1] * 1.03
    # Nothing of these ratios fits a strip: its middle is taken.
    top, left, rows, columns = random_box([[1.0, 0.5, 0.5, 0.5]] * 10, 10, 1000)
    assert (top, rows, columns) == (0, 10, 10 * PART_RATIO[1])
    assert left == (1000 - columns) / 2


def test_padding_is_black_after_normalising() -> None:
    info = dataset("digits")
    pixels = torch.full((64, 1, 8, 8), 16, dtype=torch.uint8)
    ready = Preprocess.of(info, CPU)(pixels, "crop", seeded())
    black, white = (0 - info.mean[0]) / info.std[0], (1 - info.mean[0]) / info.std[0]
    found = sorted(set(ready.flatten().tolist()))
    assert found == pytest.approx([black, white])


@pytest.mark.parametrize("augment", ["crop", "crop_flip", "affine", "imagenet"])
def test_a_batch_depends_on_seed_epoch_and_index_alone(config: Any, augment: str) -> None:
    digits = source("digits", "train")

    def batch(seed: int, epoch: int, index: int) -> Tensor:
        batches = Batches(digits, config(augment=augment, seed=seed, batch_size=32), CPU)
        torch.rand(epoch + index + 1)  # somebody else's random numbers
        return batches.images(digits.pixels(torch.arange(32)), epoch, index)

    first = batch(0, 1, 2)
    assert first.shape == (32, 1, 32, 32)
    assert torch.equal(first, batch(0, 1, 2))
    for other in (batch(1, 1, 2), batch(0, 2, 2), batch(0, 1, 3)):
        assert not torch.equal(first, other)
    plain = Preprocess.of(dataset("digits"), CPU)(digits.pixels(torch.arange(32)))
    assert not torch.equal(first, plain)
    # What is seen is still the digits: a batch and its augmented form are closer than two batches.
    if augment != "imagenet":
        assert (first - plain).abs().mean() < (plain - plain.flip(0)).abs().mean()
