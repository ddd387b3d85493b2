"""Server-sent events of one job: first its history, then what happens, in one order.

`metric` and `event` have their `seq` as id, and `Last-Event-ID` covers both. `status` is a snapshot without an id; it
is sent at the start and whenever it changes. The final `status` is sent once, after all rows, and ends the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel

from api.access.acting import Acting
from api.http.dependencies import MAX_SEQ, JobId, ServiceDep, is_head, known_query
from api.http.problems import documented
from api.jobs.queue_positions import QueuePositions
from api.jobs.schemas import Event, Metric, StatusFrame
from api.streaming.follow import Chunk, StreamResponse, follow_job
from jobs.access.scope import OwnTransaction
from jobs.repository import history, lifecycle
from jobs.states import Status
from jobs.tables import Event as EventRow
from jobs.tables import Job as JobRow

router = APIRouter(prefix="/v1/jobs/{id}", tags=["history"], dependencies=[Depends(known_query)])

MEDIA_TYPE = "text/event-stream"
BATCH = 1_000
"""Metrics and events, each, that one read takes."""
RETRY_MS = 2_000
"""How long a browser waits before it connects again, in milliseconds."""

EXAMPLE = """\
event: status
data: {"status":"running","attempt":1,"queue_position":null,"progress":null}

event: metric
data: {"seq":7,"name":"train/loss","step":10,"epoch":0,"value":2.31,"time":"2025-11-21T03:00:01.000Z"}
id: 7
"""


@router.get(
    "/stream",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": "Events `metric`, `event` (id = seq) and `status`; ends after the final status.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
        },
        **documented("not_found", "invalid", "client_limit", "quota_exceeded", "too_many_streams"),
    },
)
def stream(
    request: Request,
    service: ServiceDep,
    id: JobId,
    last_event_id: Annotated[
        int,
        Header(
            ge=0, le=MAX_SEQ, description="Id of the last event that the client has seen; only later ones are sent."
        ),
    ] = 0,
) -> Response:
    """Streams a job as server-sent events (HTML Living Standard, 9.2): metrics, events and status as they come.

    The stream begins with the history after `Last-Event-ID` and ends after the final status. A comment every
    15 seconds keeps an idle connection alive.

    Errors: 404 `not_found` for an unknown job; 422 `invalid` for a malformed `Last-Event-ID`; 429 `client_limit`
    (RFC 6585) where too many streams of one address are open, `quota_exceeded` of one project; 503 `too_many_streams`
    where too many are in all.
    """
    with service.database.read() as session:
        job = lifecycle.get(session, id)
        cursor = Cursor(id, min(last_event_id, job.last_seq), service.queue_positions)
    if is_head(request):
        return Response(media_type=MEDIA_TYPE)
    return StreamResponse(service, request, _frames(service, cursor), MEDIA_TYPE)


async def _frames(service: Acting, cursor: Cursor) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()

    def read_next() -> Chunk:
        with service.database.read() as session:
            return cursor.advance(session)

    async for text in follow_job(service, cursor.job_id, read_next, heartbeat=KEEPALIVE_COMMENT):
        yield text


@dataclass
class Cursor:
    """How far one stream has come in one job."""

    job_id: str
    seq: int
    queue_positions: QueuePositions
    status: bytes = b""
    """The last `status` frame that was sent."""

    def advance(self, session: OwnTransaction) -> Chunk:
        """The frames that were not sent yet. Those of an ended job end with its final status."""
        # Read the job first: rows up to its last_seq are then committed, since a seq is allocated under the job's lock.
        job = lifecycle.get(session, self.job_id)
        final = Status(job.status).final
        frames = []
        if not final:
            frames.append(self._status(session, job))
        frames += self._rows(session, job.last_seq)
        done = final and self.seq >= job.last_seq
        if done:
            frames.append(self._status(session, job))
        return Chunk(b"".join(frames), more=self.seq < job.last_seq, final=done)

    def _status(self, session: OwnTransaction, job: JobRow) -> bytes:
        at = self.queue_positions.of(session, [job]).get(job.id)
        frame = StatusFrame.of(job, None if at is None else at.position)
        encoded = _frame("status", frame)
        if encoded == self.status:
            return b""
        self.status = encoded
        return encoded

    def _rows(self, session: OwnTransaction, upto: int) -> list[bytes]:
        """Frames of the next metrics and events up to seq `upto`, in order of seq. Many rows take several calls."""
        if self.seq >= upto:
            return []
        metrics = history.metrics(session, self.job_id, after_seq=self.seq, limit=BATCH)
        events = history.events(session, self.job_id, after_seq=self.seq, limit=BATCH)
        # A full list may have more rows: rows of the other list behind its end wait for the next call.
        for full in (metrics, events):
            if len(full) == BATCH:
                upto = min(upto, full[-1].seq)
        rows: list[history.Point | EventRow] = [*metrics, *events]
        self.seq = upto
        return [_row_frame(row) for row in sorted(rows, key=lambda row: row.seq) if row.seq <= upto]


def _row_frame(row: history.Point | EventRow) -> bytes:
    if isinstance(row, EventRow):
        return _frame("event", Event.model_validate(row), row.seq)
    return _frame("metric", Metric.model_validate(row), row.seq)


def _frame(name: str, data: BaseModel, seq: int | None = None) -> bytes:
    return format_sse_event(data_str=data.model_dump_json(), event=name, id=None if seq is None else str(seq))
