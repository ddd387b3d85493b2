"""Downloads go on after an interruption, and every file is verified before it gets its name.

Bytes go to ``NAME.part``. A later call goes on where the last one stopped: ``Range`` with ``If-Range``, whose validator
is the sha256, so that a part of another version is never continued. At the end the sha256 of the whole file is checked,
and the file is renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2

from adderclient.errors import AdderClientError, ApiError, ChecksumMismatch
from adderclient.transport import FIRST_PAUSE, RETRIED_STATUS, Params, Transport, problem

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


@dataclass
class _Download:
    """A download that is under way."""

    transport: Transport
    path: str
    params: Params | None
    final: Path
    sha256: str | None
    report: Callable[[Transfer], None] | None
    total: int | None = None

    def receive(self, part: BinaryIO) -> None:
        """Fetches what ``part`` lacks, over as many connections as that takes."""
        fruitless = 0
        while True:
            before = part.seek(0, os.SEEK_END)
            reason: Exception
            try:
                if self._receive_once(part, before):
                    return
                reason = AdderClientError("the server does not serve the range that is missing")
            except httpx2.TransportError as error:
                reason = self.transport.unreachable(error)
            except ApiError as error:
                if error.status not in RETRIED_STATUS:
                    raise
                reason = error
            fruitless = 0 if part.seek(0, os.SEEK_END) > before else fruitless + 1
            if fruitless >= FRUITLESS:
                raise reason
            time.sleep(FIRST_PAUSE * 2**fruitless)

    def _receive_once(self, part: BinaryIO, offset: int) -> bool:
        headers = {"Accept-Encoding": "identity"}
        if offset and self.sha256:
            headers |= {"Range": f"bytes={offset}-", "If-Range": f'"{self.sha256}"'}
        accept = frozenset({416})
        with self.transport.stream(self.path, params=self.params, headers=headers, accept=accept) as response:
            if response.status_code == 416:
                response.read()
                return self._past_the_end(part, offset, response)
            self._learn(response)
            if response.status_code != 206:
                offset = 0
            elif not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
                part.truncate(0)
                return False
            length = response.headers.get("content-length")
            self.total = offset + int(length) if length else None
            part.truncate(offset)
            part.seek(offset)
            for chunk in response.iter_raw():
                part.write(chunk)
                offset += len(chunk)
                self._tell(offset)
        return self.total is None or offset >= self.total

    def _past_the_end(self, part: BinaryIO, offset: int, response: httpx2.Response) -> bool:
        """The server answered 416: the part is complete, or it is longer than the file and starts anew."""
        if not offset:
            raise problem(response)
        if response.headers.get("content-range") == f"bytes */{offset}":
            return True
        part.truncate(0)
        return False

    def _learn(self, response: httpx2.Response) -> None:
        if self.sha256 is None:
            etag = response.headers.get("etag", "").strip('"')
            if not _SHA256.fullmatch(etag):
                raise AdderClientError(
                    f"the server sent no checksum for {self.final.name}, "
                    "which can therefore not be verified; nothing was saved"
                )
            self.sha256 = etag

    def _tell(self, received: int) -> None:
        if self.report is not None:
            self.report(Transfer(self.final, received, self.total))


def fetch(
    transport: Transport,
    path: str,
    to: str | Path,
    name: str,
    *,
    params: Params | None = None,
    sha256: str | None = None,
    progress: Callable[[Transfer], None] | None = None,
) -> Path:
    """Downloads a file. One that is there already with the right checksum is not fetched again.

    Args:
        transport: the server.
        path: of the file on the server.
        to: the file to write, or a folder (it exists, or ends in ``/``).
        name: of the file in the folder.
        params: of the query.
        sha256: the published checksum; None: the response's ``ETag``.
        progress: is called after each piece.

    Returns:
        Where the file lies.

    Raises:
        ChecksumMismatch: the bytes are wrong; the partial file has been deleted.
        ConnectionFailed: the connection broke too often; the partial file stays, and the next call goes on.
        AdderClientError: another download writes the same file, or the server sent no checksum.
    """
    final = _target(to, name)
    final.parent.mkdir(parents=True, exist_ok=True)
    if sha256 and final.is_file() and sha256_of(final) == sha256:
        return final
    part_path = final.with_name(final.name + ".part")
    download = _Download(transport, path, params, final, sha256, progress)
    with _opened_alone(part_path) as part:
        try:
            download.receive(part)
            part.flush()
            os.fsync(part.fileno())
            actual = sha256_of(part_path)
            if actual != download.sha256:
                part_path.unlink()
                raise ChecksumMismatch(final, str(download.sha256), actual)
            part_path.replace(final)
        except BaseException:
            if part_path.exists() and not part_path.stat().st_size:
                part_path.unlink()
            raise
    return final


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _target(to: str | Path, name: str) -> Path:
    as_folder = str(to).endswith(("/", os.sep)) or Path(to).is_dir()
    return Path(to) / Path(name).name if as_folder else Path(to)


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
    except BlockingIOError as error:
        raise AdderClientError(f"{path} is being written by another download") from error
