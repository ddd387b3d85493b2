"""Images as an integer network takes them: uint8 of the network's size, without normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from addercore.config import Holdout, Part, dataset
from addercore.data import part
from addercore.data.pixels import resize
from addercore.data.sets import pixels_of


def as_bytes(pixels: torch.Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(N, C, H, W) in 0…1 → uint8 (N, C, *size): resized as for the float network, then rounded to 256 levels."""
    found = resize(pixels, size).clamp(0, 1)
    return (found * 255).round().to(torch.uint8).numpy()


def dataset_bytes(
    name: str, split: Part, data_dir: Path | None = None, holdout: Holdout | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images of a part, uint8 (N, C, H, W), and labels (N,); `holdout`: what of the training images validates.

    Raises:
        ValueError: an unknown dataset, or one that memory cannot hold.
        BadData: files of the dataset are missing or damaged.
    """
    pixels, labels = pixels_of(name, part(name, split, data_dir, holdout))
    height, width = dataset(name).input_shape[1:]
    return as_bytes(pixels, (height, width)), labels.numpy()
