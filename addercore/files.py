"""Files that are whole or absent: written under another name, synced, renamed. Loads neither torch nor numpy."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedRandom]:
    """A temporary file beside `path` that takes its name when the block ends; an error leaves `path` as it was.

    A process that is killed in the block leaves `.NAME.PID.tmp` behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def rename(file: Path, target: Path) -> None:
    """Gives `file`, whose content has been synced, the name `target` in the same folder, in one step that lasts."""
    os.replace(file, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` last through a power cut: renaming a file changes its folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes) -> str:
    """Writes `content` to `path`, whole or not at all; returns its sha256."""
    with replacing(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()
