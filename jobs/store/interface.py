"""What every artifact store does.

A blob is complete before it gets its name, and has its name before a row refers to it: a crash leaves at most a blob
without a row. Such a blob is removed once it is older than a grace period, which is far longer than a blob ever waits
for its row: an import beside a deletion of the same bytes loses nothing. Ages go by the store's own clock.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.errors import StoreError, StoreFull, StoreUnavailable
from jobs.files import pieces
from jobs.repository import models
from jobs.repository.attempts import Stored

MAX_LATER = 10_000
"""Digests that `discard` remembers to try again; `collect_orphans` finds what is forgotten."""
SHA256 = re.compile(r"[0-9a-f]{64}")
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

log = structlog.get_logger()


@dataclass(frozen=True)
class Blob:
    sha256: str
    modified: float
    """When it was stored or refreshed, in seconds since 1970 by the store's clock."""


class ArtifactStore(ABC):
    """An artifact store. `store_of` opens the one that the settings name.

    Every call that reaches the store raises StoreUnavailable if it does not answer, and every call that writes raises
    StoreFull if it takes no more bytes. A blob's name never stands for half-written bytes.
    """

    def __init__(self, name: str, incoming: Path, grace_seconds: float) -> None:
        """Sets what both kinds need.

        Args:
            name: what messages call the store.
            incoming: local folder for uploads under way.
            grace_seconds: how long a blob may wait for its row.
        """
        self.name = name
        self.incoming_dir = incoming
        self.grace = grace_seconds
        self._later: dict[str, float] = {}
        self._later_lock = threading.Lock()

    @abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """Opens a blob for reading from any position. Raises StoreError if it is missing."""

    @abstractmethod
    def local(self, sha256: str) -> AbstractContextManager[Path]:
        """The blob as a local file for the time of the block. Raises StoreError if it is missing."""

    @abstractmethod
    def refresh(self, sha256: str) -> bool:
        """Makes a blob young again, so that it is not discarded before its row is written. Returns False if it is
        gone."""

    @abstractmethod
    def blobs(self, prefix: str) -> Iterator[Blob]:
        """All blobs whose name begins with `prefix`, two hex digits."""

    @abstractmethod
    def now(self) -> float:
        """The clock by which `Blob.modified` is stamped."""

    @abstractmethod
    def _publish(self, file: Path, sha256: str) -> None:
        """Gives a complete, synced file of `incoming_dir` its name in the store, whether it is there already or not."""

    @abstractmethod
    def _remove(self, sha256: str, before: float) -> bool:
        """Removes a blob unless it was stored or refreshed at `before` or later. Returns False if it stays for now."""

    def put(self, source: Path) -> Stored:
        """Stores a copy of a file."""
        with source.open("rb") as stream:
            return self.put_file(stream)

    def put_file(self, file: BinaryIO) -> Stored:
        """Stores a copy of an open file, from its position on."""
        return self.put_stream(pieces(file))

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        with self.incoming() as upload:
            for chunk in chunks:
                upload.write(chunk)
            return upload.commit()

    def incoming(self) -> Upload:
        """An upload, which becomes a blob when it is committed and leaves nothing behind otherwise."""
        with self.writing():
            self.incoming_dir.mkdir(parents=True, exist_ok=True)
            return Upload(self, tempfile.NamedTemporaryFile(dir=self.incoming_dir, delete=False))

    def ensure(self, stored: Stored, put: Callable[[], object]) -> None:
        """Makes sure that a blob which was stored a while ago is there and young.

        Call it right before the transaction that names the blob if the blob may have waited (the database was away),
        and after it if the process may have been stopped in between.
        """
        if not self.refresh(stored.sha256):
            put()

    def fetch(self, sha256: str, target: Path) -> None:
        """Copies a blob to `target`. Raises StoreError if it is missing or its bytes have changed."""
        digest = hashlib.sha256()
        try:
            with self.open(sha256) as source, target.open("wb") as sink:
                for chunk in pieces(source):
                    digest.update(chunk)
                    sink.write(chunk)
            if digest.hexdigest() != sha256:
                raise StoreError(f"The stored file {sha256} is corrupt: its bytes have another checksum.")
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def discard(self, database: Database, digests: Iterable[str]) -> int:
        """Removes those blobs that no row refers to and that are older than the grace. Returns their number.

        The younger ones are tried again by the next call and by `collect_orphans`, as are all when the store is away.
        """
        kept = set(digests) | self._due()
        removed = 0
        try:
            kept, before = self._unused(database, kept)
            for sha256 in sorted(kept):
                if self._remove(sha256, before):
                    kept.discard(sha256)
                    removed += 1
        except StoreError as error:
            log.warning("store.discard_deferred", error=str(error), blobs=len(kept))
        finally:
            self._try_later(kept)
        return removed

    def _due(self) -> set[str]:
        """Blobs that earlier calls of `discard` found too young and that are old enough now."""
        now = time.monotonic()
        with self._later_lock:
            due = {sha256 for sha256, at in self._later.items() if at <= now}
            for sha256 in due:
                del self._later[sha256]
        return due

    def _try_later(self, digests: set[str]) -> None:
        at = time.monotonic() + self.grace
        with self._later_lock:
            for sha256 in sorted(digests)[: max(0, MAX_LATER - len(self._later))]:
                self._later.setdefault(sha256, at)

    def collect_orphans(self, database: Database, prefix: str, older_than_seconds: float = 0.0) -> int:
        """Removes orphans: blobs with this prefix that no row refers to. Returns their number.

        They are at least as old as the grace, whatever `older_than_seconds`.
        """
        before = self.now() - max(self.grace, older_than_seconds)
        old = {blob.sha256 for blob in self.blobs(prefix) if blob.modified < before}
        unused, before = self._unused(database, old)
        return sum(self._remove(sha256, before) for sha256 in unused)

    def _unused(self, database: Database, digests: set[str]) -> tuple[set[str], float]:
        """Those that no row names, and the age from which they may go: taken *before* the rows were read.

        A blob that was young then may belong to a row that was not there yet.
        """
        if not digests:
            return set(), 0.0
        before = self.now() - self.grace
        with database.read(SERVICE) as session:
            return models.unreferenced(session, digests), before

    def clear_incoming(self, older_than_seconds: float) -> int:
        """Removes what killed uploads have left. Returns the number of files."""
        removed = 0
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.incoming_dir):
                with suppress(FileNotFoundError):
                    if entry.is_file() and time.time() - entry.stat().st_mtime > older_than_seconds:
                        os.unlink(entry)
                        removed += 1
        return removed

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns errors of the file system into StoreFull or StoreUnavailable."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _REFUSED:
                raise StoreFull(self.name, reason) from error
            raise StoreUnavailable(self.name, reason) from error


class Upload:
    """An upload under way. As a context manager it removes what was not committed."""

    def __init__(self, store: ArtifactStore, file: tempfile._TemporaryFileWrapper[bytes]) -> None:
        self._store = store
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def path(self) -> Path:
        return Path(self._file.name)

    def write(self, chunk: bytes) -> None:
        with self._store.writing():
            self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes += len(chunk)

    def flush(self) -> None:
        with self._store.writing():
            self._file.flush()

    def commit(self) -> Stored:
        self.flush()
        with self._store.writing():
            os.fsync(self._file.fileno())
        sha256 = self._digest.hexdigest()
        self._store._publish(self.path, sha256)
        return Stored(sha256, self.bytes)

    def ensure(self, stored: Stored) -> None:
        """Call it after the row is written: stores the blob again if the process was stopped so long that it was
        removed."""
        if not self._store.refresh(stored.sha256):
            self._file.seek(0)
            self._store.put_stream(pieces(self._file))

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk: what is still buffered cannot be written
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
