"""Server-sent events of one job. A connection that drops is opened again where it broke off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx2

from adderclient.errors import ApiError
from adderclient.records import FINAL, StreamEvent
from adderclient.transport import RETRIED_STATUS, Transport

QUIET = 60.0
"""Seconds without a byte after which a connection counts as dead; a server sends a comment more often."""
FRUITLESS = 8
"""Connections in a row without an event after which the stream gives up."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds; doubled after every fruitless connection


class _Truncated(httpx2.TransportError):
    """The last event of a connection was cut in the middle."""


def events(
    transport: Transport, path: str, last_event_id: str | None, finished: Callable[[], bool]
) -> Iterator[StreamEvent]:
    """Yields a job's events after ``last_event_id``, to its final status.

    A new connection goes on with ``Last-Event-ID`` where the last one dropped. A stream that is resumed behind its end
    ends in order and without a final status: then ``finished`` says whether the job has ended.
    """
    fruitless = 0
    while True:
        began = time.monotonic()
        came = False
        reason: Exception
        try:
            for event in _one_connection(transport, path, last_event_id):
                last_event_id, came = event.id, True
                yield event
                if event.status in FINAL:
                    return
            if finished():
                return
            reason = transport.unreachable(httpx2.ReadError("the stream ended too early"))
        except httpx2.TransportError as error:
            reason = transport.unreachable(error)
        except ApiError as error:
            if error.status not in RETRIED_STATUS:
                raise
            reason = error
        fruitless = 0 if came or time.monotonic() - began > QUIET / 2 else fruitless + 1
        if fruitless >= FRUITLESS:
            raise reason
        time.sleep(min(FIRST_PAUSE * 2**fruitless, LONGEST_PAUSE))


def _one_connection(transport: Transport, path: str, last_event_id: str | None) -> Iterator[StreamEvent]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    with transport.stream(path, headers=headers, read_timeout=QUIET) as response:
        for sent in httpx2.EventSource(response):
            if not sent.data:
                continue
            try:
                data = json.loads(sent.data)
            except ValueError as error:
                raise _Truncated("an event was cut in the middle") from error
            yield StreamEvent(
                id=sent.id or last_event_id or "",
                type=sent.event,
                data=data if isinstance(data, dict) else {"value": data},
            )
