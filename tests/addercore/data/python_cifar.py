"""CIFAR's Python files as Python 2 wrote them (protocol 2, texts as bytes), byte by byte."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np


def text(value: bytes) -> bytes:
    """SHORT_BINSTRING, or BINSTRING."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def numbers(values: list[int]) -> bytes:
    return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"


def array(values: np.ndarray[Any, Any]) -> bytes:
    rows, columns = values.shape
    shape = b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\0K\1\x87R(K\3"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    return made + b"(K\1" + shape + dtype + b"\x89" + text(values.tobytes()) + b"tb"


def pickled(items: dict[bytes, bytes]) -> bytes:
    return b"\x80\x02}q\x01(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def batch(images: np.ndarray[Any, Any], **labels: list[int]) -> bytes:
    """`images` (N, 3, 32, 32)."""
    names = b"](" + b"".join(text(b"x%d.png" % i) for i in range(len(images))) + b"e"
    items = {b"batch_label": text(b"a batch"), **{name.encode(): numbers(values) for name, values in labels.items()}}
    return pickled(items | {b"data": array(images.reshape(len(images), -1)), b"filenames": names})


def meta(**names: list[str]) -> bytes:
    return pickled(
        {key.encode(): b"](" + b"".join(text(name.encode()) for name in value) + b"e" for key, value in names.items()}
    )
