"""What both clients know of a job's server-sent events: when a connection counts as dead, and how an event is read."""

from __future__ import annotations

import json

import httpx2

from adderclient.records import StreamEvent

QUIET = 60.0
"""Seconds without a byte after which a connection counts as dead; a server sends a comment more often."""
FRUITLESS = 8
"""Connections in a row without an event after which the stream gives up."""


class Truncated(httpx2.TransportError):
    """The last event of a connection was cut in the middle."""


def headers_after(last_event_id: str | None) -> dict[str, str]:
    """Headers of the request for the events after one."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    return headers | ({"Last-Event-ID": last_event_id} if last_event_id else {})


def event_of(sent: httpx2.ServerSentEvent, last_event_id: str | None) -> StreamEvent:
    """The event that was sent; one without an id has that of the event before it.

    Raises:
        Truncated: its data are no JSON.
    """
    try:
        data = json.loads(sent.data)
    except ValueError as error:
        raise Truncated("an event was cut in the middle") from error
    return StreamEvent(
        id=sent.id or last_event_id or "",
        type=sent.event,
        data=data if isinstance(data, dict) else {"value": data},
    )
