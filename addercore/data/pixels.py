"""Pixels on their way into a network: resizing, normalising, augmenting."""

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor

CROP_PADDING = 4  # pixels, as the CIFAR recipe has it


def prepare(pixels: Tensor, size: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(N, c, H, W) in 0…1 → (N, c, *size): bilinear (with antialiasing where it shrinks), then (x − mean) / std."""
    target = (size[0], size[1])
    if pixels.shape[2:] != target:
        shrinks = pixels.shape[2] > target[0] or pixels.shape[3] > target[1]
        pixels = nnf.interpolate(pixels, size=target, mode="bilinear", align_corners=False, antialias=shrinks)
    centre = torch.tensor(mean, dtype=pixels.dtype).view(1, -1, 1, 1)
    spread = torch.tensor(std, dtype=pixels.dtype).view(1, -1, 1, 1)
    return (pixels - centre) / spread


def random_crop(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of (N, c, H, W) padded by 4 black pixels and cut back at a random place.

    `black` (c,) is the normalised value of a pixel 0; `generator` lives on the processor, whatever the images' device.
    """
    n, channels, height, width = images.shape
    pad = CROP_PADDING
    padded = black.view(1, -1, 1, 1).expand(n, channels, height + 2 * pad, width + 2 * pad).contiguous()
    padded[:, :, pad : pad + height, pad : pad + width] = images
    offsets = torch.randint(0, 2 * pad + 1, (2, n), generator=generator).to(images.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, c, 9, 9, H, W), a view
    return windows[torch.arange(n, device=images.device), :, offsets[0], offsets[1]]
