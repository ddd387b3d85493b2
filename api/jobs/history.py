"""What is read back of a job: metrics, events and logs."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from api.http.bodies import encoded
from api.http.dependencies import MAX_SEQ, AfterSeq, JobId, ServiceDep, is_head, known_query
from api.http.problems import Problem, documented
from api.jobs.schemas import Attempt, Event, Metric
from api.schemas import Page, rfc3339
from api.service import Service
from api.streaming.live import LiveResponse, Piece, until_final
from jobs.repository import attempts, history, lifecycle
from jobs.states import Status

router = APIRouter(prefix="/v1/jobs/{id}", tags=["history"], dependencies=[Depends(known_query)])

MAX_ROWS = 10_000
DEFAULT_ROWS = 1_000
MAX_TAIL = 100_000
COLUMNS = ("seq", "name", "step", "epoch", "value", "time")

SeqCursor = Annotated[
    int | None, Query(ge=0, le=MAX_SEQ, description="`next` of the page before; the same as `after_seq`.")
]


def accepted(accept: str | None, offered: Sequence[str]) -> str | None:
    """The best of `offered` (the server's order of preference) for an Accept header; None where none is taken."""
    if not accept:
        return offered[0]
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = max(weights.get(name, 0.0), _quality(parameters))
    best = max(offered, key=lambda kind: _weight(weights, kind))  # the first of equals
    return best if _weight(weights, best) > 0 else None


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def _weight(weights: dict[str, float], kind: str) -> float:
    """The most specific range that names `kind` decides."""
    for pattern in (kind, kind.partition("/")[0] + "/*", "*/*"):
        if pattern in weights:
            return weights[pattern]
    return 0.0


def _page(kind: type[Page[Any]], rows: Sequence[Any], limit: int) -> Response:
    """A page of at most `limit` of the `limit + 1` rows that were asked for."""
    more = len(rows) > limit
    rows = rows[:limit]
    page = kind.model_validate({"data": rows, "has_more": more, "next": str(rows[-1].seq) if more else None})
    return encoded(page)


@router.get(
    "/metrics",
    response_model=Page[Metric],
    summary="Points of a job's metrics",
    responses={
        200: {
            "description": "Points in order of `seq`; as CSV without a `limit`, all of them.",
            "content": {
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": "seq,name,step,epoch,value,time\r\n7,train/loss,10,0,2.31,2025-11-21T03:00:01.000Z\r\n",
                }
            },
        },
        **documented("not_found", "not_acceptable", "invalid"),
    },
)
def metrics(
    service: ServiceDep,
    id: JobId,
    name: Annotated[
        list[Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]],
        Query(max_length=200, description="Only these metrics.", examples=[["val/accuracy"]]),
    ] = [],  # noqa: B006
    after_seq: AfterSeq = 0,
    after: SeqCursor = None,
    limit: Annotated[int | None, Query(ge=1, le=MAX_ROWS, description="Points; 1000 unless CSV is asked for.")] = None,
    accept: Annotated[str | None, Header(description="`application/json` or `text/csv`.")] = None,
) -> Any:
    """Poll with `after_seq` of the last point seen: nothing is skipped, nothing comes twice."""
    kind = accepted(accept, ("application/json", "text/csv"))
    if kind is None:
        raise Problem("not_acceptable", "Metrics come as application/json or text/csv.")
    start = max(after_seq, after or 0)
    with service.database.read() as session:
        lifecycle.get(session, id)
        if kind == "application/json":
            size = limit or DEFAULT_ROWS
            points = history.metrics(session, id, names=name, after_seq=start, limit=size + 1)
            return _page(Page[Metric], points, size)
    headers = {"Content-Disposition": f'attachment; filename="{id}.csv"', "Vary": "Accept"}
    lines = _csv(service, id, name, start, limit)
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


def _csv(service: Service, id: str, names: Sequence[str], after_seq: int, limit: int | None) -> Iterator[str]:
    """CSV in pieces of at most MAX_ROWS points, each read in a transaction of its own."""
    yield _csv_lines([COLUMNS])
    left = limit
    while left is None or left > 0:
        size = MAX_ROWS if left is None else min(MAX_ROWS, left)
        with service.database.read() as session:
            rows = history.metrics(session, id, names=names, after_seq=after_seq, limit=size)
        yield _csv_lines(_csv_row(row) for row in rows)
        if len(rows) < size:
            return
        after_seq = rows[-1].seq
        left = None if left is None else left - len(rows)


def _csv_row(row: history.Point) -> Sequence[object]:
    return row.seq, row.name, row.step, row.epoch, "" if row.value is None else repr(row.value), rfc3339(row.time)


def _csv_lines(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


@router.get("/events", response_model=Page[Event], summary="A job's events", responses=documented("not_found"))
def events(
    service: ServiceDep,
    id: JobId,
    after_seq: AfterSeq = 0,
    after: SeqCursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
) -> Any:
    """State changes and notable moments, oldest first."""
    with service.database.read() as session:
        lifecycle.get(session, id)
        start = max(after_seq, after or 0)
        return _page(Page[Event], history.events(session, id, after_seq=start, limit=limit + 1), limit)


@router.get("/attempts", response_model=Page[Attempt], summary="A job's attempts", responses=documented("not_found"))
def list_attempts(service: ServiceDep, id: JobId) -> Page[Attempt]:
    """Where each ran and why it ended, oldest first, all on one page."""
    with service.database.read() as session:
        lifecycle.get(session, id)
        rows = attempts.attempts_of(session, id)
    return Page(data=[Attempt.model_validate(row) for row in rows], has_more=False, next=None)


@router.get(
    "/logs",
    response_class=PlainTextResponse,
    summary="A job's log",
    responses={
        200: {"content": {"text/plain": {"example": "epoch 1/30: loss 2.1, accuracy 0.31\n"}}},
        **documented("not_found", "too_many_streams"),
    },
)
def logs(
    request: Request,
    service: ServiceDep,
    id: JobId,
    tail: Annotated[int | None, Query(ge=0, le=MAX_TAIL, description="Only the last so many lines.")] = None,
    follow: Annotated[bool, Query(description="Stay and send what is to come, until the job has ended.")] = False,
) -> Response:
    """What the training wrote; it may be cut at the server's limit, and says so where it is."""
    with service.database.read() as session:
        lifecycle.get(session, id)
        text, end = ("", 0) if tail is None else history.log_tail(session, id, tail)
    if tail is None:
        text, end = _whole_log(service, id)
    if not follow or is_head(request):
        return PlainTextResponse(text)
    return LiveResponse(service, _follow(service, id, text, end), "text/plain; charset=utf-8")


def _whole_log(service: Service, id: str) -> tuple[str, int]:
    pieces: list[str] = []
    end = 0
    while True:
        text, at, _ = _log_after(service, id, end)
        if not text:
            return "".join(pieces), end
        pieces.append(text)
        end = at


def _log_after(service: Service, id: str, offset: int) -> tuple[str, int, bool]:
    """Text from byte `offset` on, the byte after it, and whether that is all there will ever be."""
    with service.database.read() as session:
        job = lifecycle.get(session, id)
        done, size = Status(job.status).final, job.log_bytes
        chunks = history.log_chunks(session, id, from_byte=offset)
    text = "".join(chunk.text for chunk in chunks)
    end = offset + len(text.encode())
    return text, end, done and end >= size


async def _follow(service: Service, id: str, text: str, offset: int) -> AsyncIterator[bytes]:
    yield text.encode()
    position = offset

    def look() -> Piece:
        nonlocal position
        found, position, final = _log_after(service, id, position)
        return Piece(found.encode(), more=bool(found), final=final)

    async for piece in until_final(service, id, look, heartbeat=None):
        yield piece
