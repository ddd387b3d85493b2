"""Small helpers for files and folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

CHUNK = 1024 * 1024
"""Bytes that are read or written at a time."""


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """What is left of a stream, `CHUNK` bytes at a time."""
    while chunk := stream.read(CHUNK):
        yield chunk


def remove_if_empty(folder: Path) -> None:
    """Removes a folder unless something is in it."""
    with suppress(OSError):
        folder.rmdir()


def remove_tree(folder: Path) -> None:
    """Removes a folder with all that is in it, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)
