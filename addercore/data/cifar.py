"""CIFAR's binary version: records of one label (CIFAR-100: coarse, then fine) and 3 · 32 · 32 bytes, red first.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from addercore.errors import BadData

_SHAPE: Final = (3, 32, 32)
_PIXELS: Final = 3 * 32 * 32


def parse(raw: bytes, path: Path, images: int, labels: int) -> tuple[Tensor, Tensor]:
    """uint8 (images, 3, 32, 32), int64 (images,) of `raw` (of `path`), whose records begin with `labels` bytes, of
    which the last is the label; `BadData` unless it holds exactly `images` of them."""
    record = labels + _PIXELS
    if len(raw) != images * record:
        raise BadData(
            f"{path} is truncated or damaged: {len(raw)} bytes where {images} records of {record} are due; "
            "download it again"
        )
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(images, record)
    return records[:, labels:].reshape(images, *_SHAPE), records[:, labels - 1].long()
