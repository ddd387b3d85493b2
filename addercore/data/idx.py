"""The IDX files of MNIST: big-endian magic (0, 0, type, dimensions), sizes, then bytes."""

import struct
from math import prod
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from addercore.errors import BadData

_UNSIGNED_BYTE: Final = 0x08


def parse(raw: bytes, path: Path, shape: tuple[int, ...]) -> Tensor:
    """The uint8 tensor in the file content `raw`. `BadData`, with the name `path`, if it has not the given `shape`."""
    if len(raw) < 4:
        raise BadData(f"{path} is truncated: {len(raw)} bytes, not even a header; download it again")
    zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
    if zero != 0 or kind != _UNSIGNED_BYTE or dimensions != len(shape):
        raise BadData(
            f"{path} is no IDX file of {len(shape)} dimensions of bytes: it begins with 0x{raw[:4].hex()}, "
            f"not 0x0000{_UNSIGNED_BYTE:02x}{len(shape):02x}; is it another file under this name?"
        )
    header = 4 + 4 * dimensions
    if len(raw) < header:
        raise BadData(f"{path} is truncated inside its header; download it again")
    found = struct.unpack(f">{dimensions}I", raw[4:header])
    if found != shape:
        raise BadData(f"{path} holds {found}, but {shape} is expected; is it another file under this name?")
    if len(raw) - header != prod(shape):
        raise BadData(
            f"{path} is truncated or damaged: {len(raw) - header} bytes of data where {prod(shape)} are due; "
            "download it again"
        )
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header).view(shape)
