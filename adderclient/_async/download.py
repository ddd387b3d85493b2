"""Downloads go on after an interruption, and every file is verified before it gets its name.

Bytes go to ``NAME.part``. A later call goes on where the last one stopped: ``Range`` with ``If-Range``, whose validator
is the sha256, so that a part of another version is never continued. At the end the sha256 of the whole file is checked,
and the file is renamed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
import httpx2

from adderclient._async.transport import AsyncTransport
from adderclient.blocking import async_in_thread
from adderclient.download import FRUITLESS, Transfer, finish, is_there, part_of, published, target
from adderclient.errors import AdderClientError, ApiError
from adderclient.transport import RETRIED_STATUS, Params, pause_after, problem


@dataclass
class _Download:
    """A download that is under way."""

    transport: AsyncTransport
    path: str
    params: Params | None
    final: Path
    sha256: str | None
    report: Callable[[Transfer], None] | None
    total: int | None = None

    async def receive(self, part: BinaryIO) -> None:
        """Fetches what ``part`` lacks, over as many connections as that takes."""
        fruitless = 0
        while True:
            before = part.seek(0, os.SEEK_END)
            reason: Exception
            try:
                if await self._receive_once(part, before):
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
            await anyio.sleep(pause_after(fruitless))

    async def _receive_once(self, part: BinaryIO, offset: int) -> bool:
        headers = {"Accept-Encoding": "identity"}
        if offset and self.sha256:
            headers |= {"Range": f"bytes={offset}-", "If-Range": f'"{self.sha256}"'}
        accept = frozenset({416})
        async with self.transport.stream(self.path, params=self.params, headers=headers, accept=accept) as response:
            if response.status_code == 416:
                await response.aread()
                return self._past_the_end(part, offset, response)
            self.sha256 = self.sha256 or published(response.headers.get("etag"), self.final.name)
            if response.status_code != 206:
                offset = 0
            elif not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
                part.truncate(0)
                return False
            length = response.headers.get("content-length")
            self.total = offset + int(length) if length else None
            part.truncate(offset)
            part.seek(offset)
            async for chunk in response.aiter_raw():
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

    def _tell(self, received: int) -> None:
        if self.report is not None:
            self.report(Transfer(self.final, received, self.total))


async def fetch(
    transport: AsyncTransport,
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
    final = target(to, name)
    final.parent.mkdir(parents=True, exist_ok=True)
    if await async_in_thread(is_there, final, sha256):
        return final
    download = _Download(transport, path, params, final, sha256, progress)
    with part_of(final) as (part, part_path):
        await download.receive(part)
        await async_in_thread(finish, part, part_path, final, download.sha256)
    return final
