"""The IDX files of MNIST: big-endian magic (0, 0, type, dimensions), sizes, then bytes; plain or gzipped."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from addercore.errors import BadData

_UNSIGNED_BYTE: Final = 0x08


def find(folder: Path, name: str, source: str) -> Path:
    """`folder/name` or `folder/name.gz`; `BadData` says what to put where."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise BadData(f"{folder / name} (or {name}.gz) is missing; get it from {source} and put it into {folder}")


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path} cannot be read ({error}); download it again") from error


def read(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The uint8 tensor stored at `path`, which must have `shape`; `BadData` names the file and what is wrong."""
    raw = _content(path)
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
