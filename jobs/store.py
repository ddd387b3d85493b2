"""Artifact store: content-addressed blobs in a folder, `sha256[:2]/sha256`.

A blob is written under a temporary name, flushed to disk and renamed, and only then named by a row: a crash leaves at
most a blob that nobody refers to.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from jobs.database import Database
from jobs.errors import StoreError
from jobs.repository import catalog
from jobs.repository.attempts import Stored

CHUNK = 1024 * 1024


class ArtifactStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def put(self, source: Path) -> Stored:
        """Stores a copy of a file."""
        with source.open("rb") as stream:
            return self.put_stream(iter(lambda: stream.read(CHUNK), b""))

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        with self.incoming() as upload:
            for chunk in chunks:
                upload.write(chunk)
            return upload.commit()

    def incoming(self) -> Upload:
        """An upload that becomes a blob when it is committed and leaves nothing otherwise."""
        folder = self.root / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        return Upload(tempfile.NamedTemporaryFile(dir=folder, delete=False), self.path)

    def ensure(self, stored: Stored, source: Path) -> None:
        """Puts a blob back that a concurrent `discard` removed between our `put` and the commit of its row."""
        if not self.path(stored.sha256).exists():
            self.put(source)

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise StoreError(f"The stored file {sha256} is missing from the artifact store.") from None

    def fetch(self, sha256: str, target: Path) -> None:
        """Copies a blob to `target`. Raises StoreError when its bytes are not what was stored."""
        digest = hashlib.sha256()
        with self.open(sha256) as source, target.open("wb") as sink:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != sha256:
            target.unlink()
            raise StoreError(f"The stored file {sha256} is corrupt: its bytes have another checksum.")

    def discard(self, database: Database, digests: Iterable[str]) -> None:
        """Removes those blobs that no row refers to."""
        with database.read() as session:
            unused = catalog.unreferenced(session, digests)
        for sha256 in unused:
            self.path(sha256).unlink(missing_ok=True)


class Upload:
    """A blob in the making; a context manager that removes what was not committed."""

    def __init__(self, file: tempfile._TemporaryFileWrapper[bytes], path_of: Callable[[str], Path]) -> None:
        self._file = file
        self._path_of = path_of
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def path(self) -> Path:
        return Path(self._file.name)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes += len(chunk)

    def flush(self) -> None:
        self._file.flush()

    def commit(self) -> Stored:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sha256 = self._digest.hexdigest()
        target = self._path_of(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.path, target)
        fsync_folder(target.parent)
        return Stored(sha256, self.bytes)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
