"""Responses that stay open: they hold a place, no database session, and end with client, job or server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import anyio.to_thread
import structlog
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.types import Receive, Scope, Send

from api.service import Service
from jobs.errors import NotFound

POLL_SECONDS = 0.5
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


async def poll_until_final(
    service: Service, poll: Callable[[], tuple[bytes, bool]], heartbeat: bytes | None
) -> AsyncIterator[bytes]:
    """What `poll` (bytes, final) finds, again and again until it says that this was all.

    A database that is away is waited for; a job that is deleted, or a server that shuts down, ends the stream.
    """
    spoke = time.monotonic()
    while not service.closing.is_set():
        try:
            found, final = await anyio.to_thread.run_sync(poll, abandon_on_cancel=True, limiter=service.stream_threads)
        except NotFound:
            return
        except (OperationalError, InterfaceError, TimeoutError) as error:
            log.warning("stream.database_away", error=str(error.__cause__ or error))
            found, final = b"", False
        if found:
            spoke = time.monotonic()
            yield found
        elif heartbeat is not None and time.monotonic() - spoke >= HEARTBEAT_SECONDS:
            spoke = time.monotonic()
            yield heartbeat
        if final:
            return
        if not found:
            await _pause(service.closing)


async def _pause(closing: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(closing.wait(), POLL_SECONDS)
    except asyncio.TimeoutError:  # noqa: UP041  (an alias of the built-in from 3.11 on)
        return
