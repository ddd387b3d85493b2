"""What both clients know of downloads: where the file goes, its checksum, and a part that one download writes alone."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adderclient.errors import AdderClientError, ChecksumMismatch

FRUITLESS = 5
"""Attempts in a row without a new byte after which a download gives up; the part stays for the next call."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Transfer:
    """How far a download or an upload is."""

    path: Path
    """The file here."""
    received: int
    """Bytes that have arrived."""
    total: int | None
    """Bytes in all, where that is known."""


def target(to: str | Path, name: str) -> Path:
    """The file to write: `to` itself, or a file called `name` in it where it is a folder or ends in `/`."""
    as_folder = str(to).endswith(("/", os.sep)) or Path(to).is_dir()
    return Path(to) / Path(name).name if as_folder else Path(to)


def published(etag: str | None, name: str) -> str:
    """The sha256 in an ``ETag``.

    Raises:
        AdderClientError: there is none in it.
    """
    sha256 = (etag or "").strip('"')
    if not _SHA256.fullmatch(sha256):
        raise AdderClientError(
            f"the server sent no checksum for {name}, which can therefore not be verified; nothing was saved"
        )
    return sha256


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_there(final: Path, sha256: str | None) -> bool:
    """Whether a file is there already and has this checksum."""
    return bool(sha256) and final.is_file() and sha256_of(final) == sha256


def finish(part: BinaryIO, part_path: Path, final: Path, sha256: str | None) -> None:
    """Gives a part that is complete its name, once its bytes are on the disk and are the published ones.

    Raises:
        ChecksumMismatch: they are not; the part is deleted.
    """
    part.flush()
    os.fsync(part.fileno())
    actual = sha256_of(part_path)
    if actual != sha256:
        part_path.unlink()
        raise ChecksumMismatch(final, str(sha256), actual)
    part_path.replace(final)


@contextmanager
def part_of(final: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Opens the part of a file for this download alone. An error leaves the part, unless it is empty.

    Raises:
        AdderClientError: another download writes it.
    """
    path = final.with_name(final.name + ".part")
    with _opened_alone(path) as part:
        try:
            yield part, path
        except BaseException:  # also an interrupt: an empty file is nothing to go on from
            if path.exists() and not path.stat().st_size:
                path.unlink()
            raise


@contextmanager
def _opened_alone(path: Path) -> Iterator[BinaryIO]:
    """Opens ``path`` for this download alone: of two at once, each would append to what the other has verified."""
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            _lock(file, path)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


def _lock(file: BinaryIO, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AdderClientError(f"{path} is being written by another download") from None
