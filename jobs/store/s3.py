"""The store in an S3-compatible bucket, for workers on several machines.

A blob is an object `ab/SHA256/GENERATION`. Every put makes a new generation, and a removal names the generations that
it has seen. S3 has neither locks nor conditional removal: with one fixed key, a removal that was decided before a put
could remove what the put had just written.

Address and credentials come from the environment as everywhere with S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import obstore
from obstore.exceptions import BaseError

from jobs.database import Database
from jobs.errors import StoreError, StoreFull, StoreUnavailable
from jobs.files import CHUNK, pieces
from jobs.repository.attempts import Stored
from jobs.store.interface import SHA256, ArtifactStore, Blob

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import ObjectMeta
    from obstore.store import S3Store as Bucket

REQUEST_SECONDS = 30
"""Time limit of one request, which may carry some MiB of a file."""
RESUMES = 3
"""How often a download is resumed in a row without getting a byte."""
MAX_RETRIES = 10
MAX_REASON = 400  # characters of a library's error that are repeated
FULL = ("QuotaExceeded", "StorageFull", "InsufficientStorage", "EntityTooLarge", "507 ")
"""Parts of the answers by which S3-compatible servers say that they are full."""


class S3Store(ArtifactStore):
    def __init__(
        self,
        url: str,
        incoming: Path,
        grace_seconds: float,
        retry_seconds: float,
        keys: Mapping[str, Any] | None = None,
    ) -> None:
        """`retry_seconds` bounds the retries of one request, with their growing pauses. `keys`: credentials by the
        library's names; those that are missing come from the `AWS_…` variables."""
        super().__init__(url, incoming, grace_seconds)
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        pause = timedelta(milliseconds=100), timedelta(seconds=min(5.0, retry_seconds))
        self._bucket: Bucket = obstore.store.S3Store(
            bucket,
            prefix=prefix or None,
            **(keys or {}),
            client_options={
                "timeout": f"{REQUEST_SECONDS}s",
                "connect_timeout": "5s",
                "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
            },
            retry_config={
                "max_retries": MAX_RETRIES,
                "retry_timeout": timedelta(seconds=retry_seconds),
                "backoff": {"init_backoff": pause[0], "max_backoff": pause[1], "base": 2},
            },
        )

    def put_file(self, file: BinaryIO) -> Stored:
        """Stores a copy of an open file, without a copy on this machine."""
        digest, size, begin = hashlib.sha256(), 0, file.tell()
        for chunk in pieces(file):
            digest.update(chunk)
            size += len(chunk)
        file.seek(begin)
        self._upload(file, digest.hexdigest())
        return Stored(digest.hexdigest(), size)

    def open(self, sha256: str) -> BinaryIO:
        found = self._newest(sha256)
        return io.BufferedReader(_Reader(self, sha256, found["size"]), CHUNK)

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        with self.writing():
            self.incoming_dir.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.incoming_dir)
            os.close(handle)
        try:
            self.fetch(sha256, Path(name))
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def refresh(self, sha256: str) -> bool:
        """Copies the newest generation within the store, unless it is young enough."""
        found = self._generations(sha256)
        if not found:
            return False
        if _age(found[-1]) > self.now() - self.grace / 2:
            return True
        try:
            with self.reaching():
                obstore.copy(self._bucket, found[-1]["path"], _generation(sha256))
        except FileNotFoundError:
            return False
        return True

    def blobs(self, prefix: str) -> Iterator[Blob]:
        newest: dict[str, float] = {}
        for item in self._list(prefix):
            sha256 = item["path"].split("/")[1]
            newest[sha256] = max(newest.get(sha256, 0.0), _age(item))
        return (Blob(*item) for item in newest.items() if SHA256.fullmatch(item[0]))

    def now(self) -> float:
        """The clock of the store, from an object that is written now: the hosts' clocks need not agree with it."""
        with self.reaching():
            obstore.put(self._bucket, "clock", b"", use_multipart=False)
            return _age(obstore.head(self._bucket, "clock"))

    def collect_orphans(self, database: Database, prefix: str, older_than_seconds: float = 0.0) -> int:
        """Removes orphans, and all generations but the newest of a blob that was stored several times."""
        removed = super().collect_orphans(database, prefix, older_than_seconds)
        several: dict[str, list[ObjectMeta]] = defaultdict(list)
        for item in self._list(prefix):
            several[item["path"].split("/")[1]].append(item)
        if all(len(items) == 1 for items in several.values()):
            return removed
        before = self.now() - self.grace
        for items in several.values():
            self._delete([item for item in sorted(items, key=_order)[:-1] if _age(item) < before])
        return removed

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Says of an error of the library what it means. A missing object stays FileNotFoundError."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StoreUnavailable(self.name, "there is no such bucket") from error
            raise
        except BaseError as error:
            text = str(error)
            reason = " ".join(text.partition("\n\nDebug source")[0].split())[:MAX_REASON]
            if any(mark in text for mark in FULL):
                raise StoreFull(self.name, reason) from error
            raise StoreUnavailable(self.name, reason) from error

    def stream(self, sha256: str, begin: int, end: int) -> Iterator[bytes]:
        """Bytes of the blob from `begin` up to `end`, in one request. Raises StoreError when it is missing."""
        for _ in range(2):  # the newest generation may give way to a newer one between the two requests
            try:
                with self.reaching():
                    answer = obstore.get(
                        self._bucket, self._newest(sha256)["path"], options={"range": (begin, end)}
                    )  # nothing is read ahead of who reads the stream
                    return iter(memoryview(piece).tobytes() for piece in answer.stream(min_chunk_size=CHUNK))
            except FileNotFoundError:
                continue
        raise missing(sha256)

    def _publish(self, file: Path, sha256: str) -> None:
        with file.open("rb") as stream:
            self._upload(stream, sha256)

    def _upload(self, stream: BinaryIO, sha256: str) -> None:
        with self.reaching():
            obstore.put(self._bucket, _generation(sha256), stream)

    def _remove(self, sha256: str, before: float) -> bool:
        found = self._generations(sha256)
        old = [item for item in found if _age(item) < before]
        self._delete(old)
        return len(old) == len(found)

    def _delete(self, items: list[ObjectMeta]) -> None:
        if items:
            with self.reaching():
                obstore.delete(self._bucket, [item["path"] for item in items])

    def _newest(self, sha256: str) -> ObjectMeta:
        found = self._generations(sha256)
        if not found:
            raise missing(sha256)
        return found[-1]

    def _generations(self, sha256: str) -> list[ObjectMeta]:
        """Oldest first."""
        return sorted(self._list(f"{sha256[:2]}/{sha256}"), key=_order)

    def _list(self, prefix: str) -> Iterator[ObjectMeta]:
        with self.reaching():
            for batch in obstore.list(self._bucket, prefix=prefix):
                yield from batch


class _Reader(io.RawIOBase):
    """One blob, read by one request from where `seek` put it."""

    def __init__(self, store: S3Store, sha256: str, size: int) -> None:
        self._store = store
        self._sha256 = sha256
        self._size = size
        self._at = 0
        self._stream: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at != self._at:
            self._at, self._stream, self._rest = at, None, memoryview(b"")
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest and self._at < self._size:
            self._rest = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        return count

    def _next(self) -> bytes:
        """The next bytes. Resumes a download that broke off, for example because the reader is slower than a request's
        limit."""
        breaks = 0
        while True:
            self._stream = self._stream or self._store.stream(self._sha256, self._at, self._size)
            try:
                with self._store.reaching():
                    return next(self._stream)
            except (StoreUnavailable, StopIteration) as error:
                self._stream = None
                breaks += 1
                if breaks > RESUMES:
                    raise StoreUnavailable(
                        self._store.name, f"a download breaks off {breaks} times: {error}"
                    ) from error


def missing(sha256: str) -> StoreError:
    return StoreError(f"The stored file {sha256} is missing from the artifact store.")


def _generation(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}/{uuid.uuid4().hex}"


def _age(item: ObjectMeta) -> float:
    return item["last_modified"].timestamp()


def _order(item: ObjectMeta) -> tuple[float, str]:
    """Sort key of generations; the last one is the newest, for every process the same."""
    return (_age(item), item["path"])
