"""Preprocessing: from pixels to a network's input, scaled, resized, augmented and normalised."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.config import DatasetInfo
from addercore.data.augment import Draws, random_affine, random_crop, random_flip, random_part


def resize(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """(N, c, H, W) → (N, c, *size): bilinear, with antialiasing where it shrinks."""
    target = (size[0], size[1])
    if pixels.shape[2:] == target:
        return pixels
    shrinks = pixels.shape[2] > target[0] or pixels.shape[3] > target[1]
    return nnf.interpolate(pixels, size=target, mode="bilinear", align_corners=False, antialias=shrinks)


def prepare(pixels: Tensor, size: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(N, c, H, W) in 0…1 → (N, c, *size): resized, then (x − mean) / std."""
    pixels = resize(pixels, size)
    centre = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    spread = torch.tensor(std, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    return (pixels - centre) / spread


class Preprocess:
    """Bytes (n, c, H, W), 0…top, to a network's input (n, c, *size) float32, on `device`."""

    def __init__(
        self, size: Sequence[int], mean: Sequence[float], std: Sequence[float], top: int, device: torch.device
    ) -> None:
        self.size, self.top = (size[0], size[1]), top
        self.centre = torch.tensor(mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.spread = torch.tensor(std, dtype=torch.float32, device=device).view(1, -1, 1, 1)

    @classmethod
    def of(cls, info: DatasetInfo, device: torch.device) -> Self:
        """The preprocessing that the dataset's description asks for."""
        return cls(info.input_shape[1:], info.mean, info.std, info.top, device)

    def __call__(self, pixels: Tensor, augment: str = "none", draws: Draws | None = None, cut: bool = False) -> Tensor:
        """`augment` takes its random numbers from `draws`; `cut` says that random crops were taken already."""
        images = pixels.float() / self.top
        if augment == "imagenet" and not cut:
            assert draws is not None  # for types, here and below: only "none" draws nothing
            images = random_part(images, self.size, draws)
        else:
            images = resize(images, self.size)
        if augment in ("crop", "crop_flip"):
            assert draws is not None
            images = random_crop(images, draws)
        if augment in ("crop_flip", "imagenet"):
            assert draws is not None
            images = random_flip(images, draws)
        if augment == "affine":
            assert draws is not None
            images = random_affine(images, draws)
        return (images - self.centre) / self.spread
