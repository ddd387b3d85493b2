"""Images as an integer network takes them: uint8 of the network's size, without normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from addercore.config import dataset
from addercore.data import Split, raw
from addercore.data.pixels import resize


def as_bytes(pixels: torch.Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(N, C, H, W) in 0…1 → uint8 (N, C, *size): resized as for the float network, then rounded to 256 levels."""
    found = resize(pixels, size).clamp(0, 1)
    return (found * 255).round().to(torch.uint8).numpy()


def dataset_bytes(name: str, split: Split, data_dir: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images of a split, uint8 (N, C, H, W), and labels (N,).

    Raises:
        ValueError: an unknown dataset, or one that memory cannot hold.
        BadData: files of the dataset are missing or damaged.
    """
    pixels, labels = raw(name, split, data_dir)
    height, width = dataset(name).input_shape[1:]
    return as_bytes(pixels, (height, width)), labels.numpy()
