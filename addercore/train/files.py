"""Files that are whole or absent."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedRandom]:
    """A temporary file beside `path` that takes its name (fsync, rename) when the block ends; an error leaves nothing.

    What a killed process leaves is named `.NAME.PID.tmp`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


def write_atomic(path: Path, content: bytes) -> str:
    """Writes `content` to `path`, whole or not at all; returns its sha256."""
    with replacing(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()
