"""Server-sent events of one job. A connection that drops is opened again where it broke off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import monotonic

import anyio
import httpx2

from adderclient._async.transport import AsyncTransport
from adderclient.blocking import Awaitable
from adderclient.errors import ApiError
from adderclient.records import FINAL, StreamEvent
from adderclient.stream import FRUITLESS, QUIET, event_of, headers_after
from adderclient.transport import RETRIED_STATUS, pause_after


async def events(
    transport: AsyncTransport, path: str, last_event_id: str | None, finished: Callable[[], Awaitable[bool]]
) -> AsyncIterator[StreamEvent]:
    """Yields a job's events after ``last_event_id``, to its final status.

    A new connection goes on with ``Last-Event-ID`` where the last one dropped. A stream that is resumed behind its end
    ends in order and without a final status: then ``finished`` says whether the job has ended.
    """
    fruitless = 0
    while True:
        began = monotonic()
        came = False
        reason: Exception
        try:
            async for event in _one_connection(transport, path, last_event_id):
                last_event_id, came = event.id, True
                yield event
                if event.status in FINAL:
                    return
            if await finished():
                return
            reason = transport.unreachable(httpx2.ReadError("the stream ended too early"))
        except httpx2.TransportError as error:
            reason = transport.unreachable(error)
        except ApiError as error:
            if error.status not in RETRIED_STATUS:
                raise
            reason = error
        fruitless = 0 if came or monotonic() - began > QUIET / 2 else fruitless + 1
        if fruitless >= FRUITLESS:
            raise reason
        await anyio.sleep(pause_after(fruitless))


async def _one_connection(
    transport: AsyncTransport, path: str, last_event_id: str | None
) -> AsyncIterator[StreamEvent]:
    async with transport.stream(path, headers=headers_after(last_event_id), read_timeout=QUIET) as response:
        async for sent in httpx2.EventSource(response):
            if sent.data:
                yield event_of(sent, last_event_id)
