"""The IDX files of MNIST: big-endian magic (0, 0, type, dimensions), sizes, then values.

Source: http://yann.lecun.com/exdb/mnist/, "THE IDX FILE FORMAT". Importing this module loads no torch.
"""

import struct
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from addercore.errors import BadData

if TYPE_CHECKING:
    from torch import Tensor

HEAD: Final = 4 + 4 * 255  # bytes of the longest header
TYPES: Final = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""numpy's names of the types."""
_UNSIGNED_BYTE: Final = 0x08


def header(raw: bytes, path: Path) -> tuple[int, tuple[int, ...], int]:
    """Type, shape and length of the header that `raw` (of `path`) begins with.

    Raises:
        BadData: it is none.
    """
    if len(raw) < 4:
        raise BadData(f"{path} is truncated: {len(raw)} bytes, not even a header; download it again")
    zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
    if zero != 0 or kind not in TYPES or dimensions == 0:
        raise BadData(f"{path} is no IDX file: it begins with 0x{raw[:4].hex()}; is it another file under this name?")
    length = 4 + 4 * dimensions
    if len(raw) < length:
        raise BadData(f"{path} is truncated inside its header; download it again")
    return kind, struct.unpack(f">{dimensions}I", raw[4:length]), length


def parse(raw: bytes, path: Path, shape: tuple[int, ...]) -> "Tensor":
    """The uint8 tensor that `raw` (of `path`) holds, which must have `shape`; `BadData` names file and fault."""
    import torch

    kind, found, length = header(raw, path)
    if kind != _UNSIGNED_BYTE or len(found) != len(shape):
        raise BadData(
            f"{path} is no IDX file of {len(shape)} dimensions of bytes: it begins with 0x{raw[:4].hex()}, "
            f"not 0x0000{_UNSIGNED_BYTE:02x}{len(shape):02x}; is it another file under this name?"
        )
    if found != shape:
        raise BadData(f"{path} holds {found}, but {shape} is expected; is it another file under this name?")
    if len(raw) - length != prod(shape):
        raise BadData(
            f"{path} is truncated or damaged: {len(raw) - length} bytes of data where {prod(shape)} are due; "
            "download it again"
        )
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=length).view(shape)
