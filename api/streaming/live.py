"""Responses that stay open: they hold a place, no database session, and end with client, job or server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio.to_thread
import structlog
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from api.service import Service
from jobs.database import database_away
from jobs.errors import NotFound

RETRY_SECONDS = 0.5  # between two looks while the database is away
HEARTBEAT_SECONDS = 15.0

log = structlog.get_logger()


class LiveResponse(StreamingResponse):
    """Takes a place among the open streams (503 where none is free) and gives it back however it ends."""

    def __init__(self, service: Service, content: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(
            content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=media_type
        )
        self._service = service
        service.open_stream()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.close_stream()


@dataclass(frozen=True)
class Piece:
    """What a look at a job found that was not sent yet."""

    text: bytes
    more: bool = False
    """There is more already; it is read at once."""
    final: bool = False
    """This was all there will ever be."""


async def until_final(
    service: Service, job_id: str, look: Callable[[], Piece], heartbeat: bytes | None
) -> AsyncIterator[bytes]:
    """What `look` finds, again whenever the job has changed, until it says that this was all.

    A database that is away is waited for; a job that is deleted, or a server that shuts down, ends the stream.
    """
    spoke = time.monotonic()
    with service.changes.watch(job_id) as watched:
        while not service.closing.is_set():
            version, patience = watched.version, HEARTBEAT_SECONDS
            try:
                piece = await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=service.stream_threads)
            except NotFound:
                return
            except SQLAlchemyError as error:
                if not database_away(error):
                    raise
                log.warning("stream.database_away", error=str(error.__cause__ or error))
                piece, patience = Piece(b""), RETRY_SECONDS
            if piece.text:
                spoke = time.monotonic()
                yield piece.text
            elif heartbeat is not None and time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                spoke = time.monotonic()
                yield heartbeat
            if piece.final:
                return
            if not piece.more:
                await watched.wait(version, patience)
