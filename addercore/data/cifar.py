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
    """Images, uint8 (images, 3, 32, 32), and labels, int64 (images,), of the file content `raw`.

    Each record begins with `labels` bytes, the last of which is the label. Raises `BadData`, with the name `path`,
    unless there are exactly `images` records.
    """
    record = labels + _PIXELS
    if len(raw) != images * record:
        raise BadData(
            f"{path} is truncated or damaged: {len(raw)} bytes where {images} records of {record} are due; "
            "download it again"
        )
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(images, record)
    return records[:, labels:].reshape(images, *_SHAPE), records[:, labels - 1].long()
