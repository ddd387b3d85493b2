"""Preprocessing: from pixels to a network's input, scaled, resized, augmented and normalised."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as nnf
from torch import Tensor

from addercore.config import DatasetInfo
from addercore.data.augment import Draws, random_affine, random_crop, random_flip, random_part
from addercore.data.sources import Source

KEPT = 256 * 2**20
"""Bytes of float32 images up to which `Preprocess.kept` keeps a set at the network's size: all of (Fashion-)MNIST."""


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
    """Images to a network's input (n, c, *size) float32, on `device`.

    The images are bytes (n, c, H, W), 0…top, or what `resized` made of them.
    """

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
        if augment == "imagenet" and not cut:
            assert draws is not None  # for types, here and below: only "none" draws nothing
            images = random_part(self._scaled(pixels), self.size, draws)
        else:
            images = pixels if pixels.is_floating_point() else self.resized(pixels)
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

    def resized(self, pixels: Tensor) -> Tensor:
        """Bytes (n, c, H, W), 0…top → (n, c, *size) float32, 0…1."""
        return resize(self._scaled(pixels), self.size)

    def kept(self, source: Source) -> "Resized | None":
        """The images of `source` at the network's size, so that a run resizes each of them once.

        None where nothing is gained, or where they take more than `KEPT` bytes.
        """
        channels, *size = source.shape
        too_large = 4 * len(source) * channels * self.size[0] * self.size[1] > KEPT
        if tuple(size) == self.size or source.cuts or not source.resident or too_large:
            return None
        return Resized(source, self)

    def _scaled(self, pixels: Tensor) -> Tensor:
        return pixels.float() / self.top


class Resized:
    """The images of a source as `Preprocess.resized` makes them: each when it is first asked for, then from memory."""

    def __init__(self, source: Source, preprocess: Preprocess) -> None:
        self._source, self._preprocess = source, preprocess
        shape = (len(source), source.shape[0], *preprocess.size)
        self._images = torch.empty(shape, device=preprocess.centre.device)
        self._missing = torch.ones(len(source), dtype=torch.bool)  # on the CPU: asking it must not wait for a GPU
        self._all = False

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """(n, c, *size) float32, 0…1, of the images with indices `chosen` (n,), which are on the CPU."""
        if not self._all:
            self._resize(chosen[self._missing[chosen]])
        return self._images[chosen.to(self._images.device)]

    def _resize(self, chosen: Tensor) -> None:
        device = self._images.device
        if len(chosen):
            images = self._preprocess.resized(self._source.pixels(chosen).to(device))
            self._images[chosen.to(device)] = images
            self._missing[chosen] = False
        self._all = not self._missing.any()
