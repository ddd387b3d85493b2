"""The store in a folder: files `ab/abcd…`, each written under a temporary name, synced and renamed.

A lock file orders renames and removals. A rename takes the lock shared, for microseconds. A removal takes it
exclusively from reading the age to the unlink, and never waits for it. A backup holds it shared while it copies, so
that nothing is removed meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from addercore.files import sync_folder
from jobs.errors import StoreError
from jobs.store.interface import SHA256, ArtifactStore, Blob


class FolderStore(ArtifactStore):
    def __init__(self, root: Path, grace_seconds: float) -> None:
        super().__init__(str(root), root / "incoming", grace_seconds)
        self.root = root

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise StoreError(f"The stored file {sha256} is missing from the artifact store.") from None

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        self.open(sha256).close()
        yield self.path(sha256)

    def refresh(self, sha256: str) -> bool:
        with self.writing(), self._lock(fcntl.LOCK_SH):
            try:
                os.utime(self.path(sha256))
            except FileNotFoundError:
                return False
        return True

    def blobs(self, prefix: str) -> Iterator[Blob]:
        try:
            entries = os.scandir(self.root / prefix)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                if SHA256.fullmatch(entry.name):
                    try:
                        yield Blob(entry.name, entry.stat().st_mtime)
                    except FileNotFoundError:
                        continue

    def now(self) -> float:
        """The clock of the file system, which need not be this machine's."""
        with self.writing():
            self.incoming_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.incoming_dir) as file:
                os.utime(file.fileno())
                return os.fstat(file.fileno()).st_mtime

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keeps every blob for the time of the block, also those that no row names any more."""
        with self._lock(fcntl.LOCK_SH):
            yield

    def _publish(self, file: Path, sha256: str) -> None:
        target = self.path(sha256)
        with self.writing():
            if not target.parent.exists():
                target.parent.mkdir(exist_ok=True)
                sync_folder(self.root)
            with self._lock(fcntl.LOCK_SH):
                os.utime(file)
                os.replace(file, target)
            sync_folder(target.parent)

    def _remove(self, sha256: str, before: float) -> bool:
        path = self.path(sha256)
        with self.writing():
            try:
                with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                    if path.stat().st_mtime >= before:
                        return False
                    path.unlink()
            except BlockingIOError:
                return False
            except FileNotFoundError:
                pass
        return True

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)
