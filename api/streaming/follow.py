"""Responses that stay open and follow a job. They hold a place among the open streams and no database session."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio.to_thread
import structlog
from fastapi import Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from api.access.acting import Acting
from api.http.problems import Problem
from api.http.shares import Exhausted, client_of
from api.streaming.job_changes import WatchedJob
from jobs.database import database_away
from jobs.errors import NotFound, QuotaExceeded

RETRY_SECONDS = 0.5
"""Time between two reads while the database is away."""
HEARTBEAT_SECONDS = 15.0
KEY_SECONDS = 0.5
"""How often a stream looks whether the key that asked for it is valid still, which is known for a second."""

log = structlog.get_logger()


class StreamResponse(StreamingResponse):
    """Counts as an open stream from its construction to its end. Raises Problem where too many are open."""

    def __init__(self, service: Acting, request: Request, content: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(
            content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=media_type
        )
        self._service = service
        self._client = client_of(request)
        caller = service.caller
        try:
            service.whole.project_streams.take(caller.project.id, most=caller.max_streams)
        except Exhausted as full:
            raise QuotaExceeded("max_streams", full.most, full.most, f"{full.most} streams are open here") from None
        try:
            service.streams.take(self._client)
        except Exhausted as full:
            service.whole.project_streams.give_back(caller.project.id)
            raise _too_many(full) from None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.streams.give_back(self._client)
            self._service.whole.project_streams.give_back(self._service.caller.project.id)


def _too_many(full: Exhausted) -> Problem:
    if full.of_client:
        detail = f"{full.most} streams of this address are open, the most that may be (ADDER_MAX_CLIENT_STREAMS)."
        return Problem("client_limit", detail)
    return Problem("too_many_streams", f"{full.most} streams are open here, the most that are allowed.")


@dataclass(frozen=True)
class Chunk:
    """What one read of a job found that was not sent yet."""

    text: bytes
    more: bool = False
    """There is more to read at once."""
    final: bool = False
    """The job has ended and this is the last of it."""


async def follow_job(
    service: Acting, job_id: str, read_next: Callable[[], Chunk], heartbeat: bytes | None
) -> AsyncIterator[bytes]:
    """Yields what `read_next` returns, and calls it again whenever the job has changed, until a chunk is final.

    The stream waits while the database is away. It ends when the job is deleted, the key that asked for it is revoked
    or expires, or the server shuts down.

    Args:
        service: this API process.
        job_id: the job to follow.
        read_next: reads the job in a thread and returns what is new since the call before.
        heartbeat: sent when nothing else was sent for HEARTBEAT_SECONDS; None for no heartbeat.
    """
    sent_at = time.monotonic()
    with service.job_changes.watch(job_id) as watched:
        while not service.closing.is_set() and await service.may_go_on():
            version, patience = watched.version, HEARTBEAT_SECONDS
            try:
                chunk = await anyio.to_thread.run_sync(
                    read_next, abandon_on_cancel=True, limiter=service.stream_threads
                )
            except NotFound:
                return
            except SQLAlchemyError as error:
                if not database_away(error):
                    raise
                log.warning("stream.database_away", error=str(error.__cause__ or error))
                chunk, patience = Chunk(b""), RETRY_SECONDS
            if chunk.text:
                sent_at = time.monotonic()
                yield chunk.text
            elif heartbeat is not None and time.monotonic() - sent_at >= HEARTBEAT_SECONDS:
                sent_at = time.monotonic()
                yield heartbeat
            if chunk.final:
                return
            if not chunk.more:
                await _wait(service, watched, version, patience)


async def _wait(service: Acting, watched: WatchedJob, version: object, patience: float) -> None:
    """Waits until the job has changed, at most for so long, or until the caller's key is not valid any more."""
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        await watched.wait(version, min(left, KEY_SECONDS) if service.caller.key_id else left)
        if watched.version != version or service.closing.is_set() or not await service.may_go_on():
            return
