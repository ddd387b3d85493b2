"""Reading what a job recorded: metrics, events, attempts and its log."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from api.access.acting import Acting
from api.http.accept import preferred
from api.http.bodies import json_response
from api.http.dependencies import MAX_SEQ, AfterSeq, JobId, ServiceDep, is_head, known_query
from api.http.problems import Problem, documented, invalid
from api.jobs.schemas import Attempt, Event, MetricPage
from api.schemas import Page, rfc3339
from api.streaming.follow import Chunk, StreamResponse, follow_job
from jobs.repository import attempts, history, lifecycle
from jobs.repository.thinning import FEWEST, Thinned, Thinning, thinned
from jobs.states import Status

router = APIRouter(prefix="/v1/jobs/{id}", tags=["history"], dependencies=[Depends(known_query)])

MAX_ROWS = 10_000
"""Rows of one answer."""
DEFAULT_ROWS = 1_000
MAX_POINTS = 5_000
"""Points of one metric that was thinned."""
MAX_TAIL = 100_000
"""Lines."""
COLUMNS = ("seq", "name", "step", "epoch", "value", "time")

SeqCursor = Annotated[
    int | None,
    Query(
        ge=0, le=MAX_SEQ, description="`next` of the page before, a `seq`; the greater of this and `after_seq` counts."
    ),
]


def _page(kind: type[Page[Any]], rows: Sequence[Any], limit: int) -> Response:
    """A page of `limit` rows, made of the `limit + 1` rows that were read to see whether more follow."""
    more = len(rows) > limit
    rows = rows[:limit]
    return json_response(kind.of(list(rows), str(rows[-1].seq) if more else None))


@router.get(
    "/metrics",
    response_model=MetricPage,
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
        Query(
            max_length=200,
            description="Only metrics of these names; repeat the parameter for several. Where none is named, all but "
            "`system/…`.",
            examples=[["val/accuracy"]],
        ),
    ] = [],  # noqa: B006
    after_seq: AfterSeq = 0,
    after: SeqCursor = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=MAX_ROWS, description="Points of one answer. Without it 1000 as JSON, and all of them as CSV."),
    ] = None,
    points: Annotated[
        int | None,
        Query(ge=FEWEST, le=MAX_POINTS, description="About so many points of each metric that is named, on one page."),
    ] = None,
    thin: Annotated[
        Thinning,
        Query(
            description="What `points` keeps of each of equal stretches of steps: the lowest, highest and first "
            "missing value (`extremes`), the first point (`sample`, quick however many points there are), or the mean "
            "of the values at the last step (`mean`)."
        ),
    ] = Thinning.EXTREMES,
    from_step: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="With `points`: the first step.")] = None,
    to_step: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="With `points`: the last step.")] = None,
    accept: Annotated[str | None, Header(description="`application/json` or `text/csv`.")] = None,
) -> Any:
    """Returns the points of a job's metrics in order of `seq`, as JSON or CSV (RFC 4180) by the Accept header.

    With `points` it returns few enough to draw, of all steps or of those from `from_step` to `to_step`; `thinned` names
    the metrics of which it left points out.

    `system/cpu` (cores in use), `system/memory_bytes`, `system/gpu` (GPUs in use) and `system/gpu_memory_bytes` say
    what all processes of the job used; their `step` counts the seconds since it first began. They are read by their
    names.

    A client that polls with `after_seq` of the last point it has seen gets every point once. `step` counts batches and
    `epoch` epochs, both from the start of the job.

    Errors: 404 `not_found` for an unknown job; 406 `not_acceptable` where Accept allows neither type (RFC 9110);
    422 `invalid` for a parameter out of its range.
    """
    kind = preferred(accept, ("application/json", "text/csv"))
    if kind is None:
        raise Problem("not_acceptable", "Metrics come as application/json or text/csv.")
    start = max(after_seq, after or 0)
    _require_together(points, thin, (from_step, to_step), paged=bool(start or limit), named=bool(name))
    few = None
    with service.database.read() as session:
        lifecycle.get(session, id)
        if points is not None:
            few = thinned(session, id, name, points, thin, from_step, to_step)
        elif kind == "application/json":
            size = limit or DEFAULT_ROWS
            found = history.metrics(session, id, names=name, after_seq=start, limit=size + 1)
            return _page(MetricPage, found, size)
    if few is not None and kind == "application/json":
        return json_response(MetricPage.of_thinned(few.points, few.names))
    headers = {"Content-Disposition": f'attachment; filename="{id}.csv"', "Vary": "Accept"}
    lines = _csv(service, id, name, start, limit) if few is None else _thinned_csv(few)
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


def _require_together(
    points: int | None, thin: Thinning, steps: Sequence[int | None], *, paged: bool, named: bool
) -> None:
    """Raises a problem where what was asked does not go together."""
    if points is None:
        if thin is not Thinning.EXTREMES or any(step is not None for step in steps):
            asked = "/query/thin" if thin is not Thinning.EXTREMES else "/query/from_step"
            raise invalid([(asked, "goes with `points`; say how many points you want, such as points=1000")])
    elif paged:
        raise invalid([("/query/points", "puts all on one page; leave out `limit`, `after` and `after_seq`")])
    elif not named:
        raise invalid([("/query/points", "needs the names of metrics; give `name` at least once")])


def _thinned_csv(few: Thinned) -> Iterator[str]:
    yield _csv_lines([COLUMNS, *(_csv_row(row) for row in few.points)])


def _csv(service: Acting, id: str, names: Sequence[str], after_seq: int, limit: int | None) -> Iterator[str]:
    """The points as CSV, in pieces of at most MAX_ROWS points. Each piece is read in a transaction of its own."""
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
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="Events of one answer.")] = 100,
) -> Any:
    """Returns a job's state changes and other notable moments, oldest first.

    Errors: 404 `not_found` for an unknown job.
    """
    with service.database.read() as session:
        lifecycle.get(session, id)
        start = max(after_seq, after or 0)
        return _page(Page[Event], history.events(session, id, after_seq=start, limit=limit + 1), limit)


@router.get("/attempts", response_model=Page[Attempt], summary="A job's attempts", responses=documented("not_found"))
def list_attempts(service: ServiceDep, id: JobId) -> Page[Attempt]:
    """Returns where each attempt of a job ran and why it ended, oldest first, all on one page.

    Errors: 404 `not_found` for an unknown job.
    """
    with service.database.read() as session:
        lifecycle.get(session, id)
        rows = attempts.attempts_of(session, id)
    return Page.of([Attempt.model_validate(row) for row in rows])


@router.get(
    "/logs",
    response_class=PlainTextResponse,
    summary="A job's log",
    responses={
        200: {"content": {"text/plain": {"example": "epoch 1/30: loss 2.1, accuracy 0.31\n"}}},
        **documented("not_found", "client_limit", "quota_exceeded", "too_many_streams"),
    },
)
def logs(
    request: Request,
    service: ServiceDep,
    id: JobId,
    tail: Annotated[
        int | None, Query(ge=0, le=MAX_TAIL, description="Only so many lines, the last ones; at most 100,000.")
    ] = None,
    follow: Annotated[
        bool, Query(description="Keep the answer open and send new lines until the job has ended.")
    ] = False,
) -> Response:
    """Returns what the job's process wrote, as text. A log that was cut at the server's limit says so at the cut.

    Errors: 404 `not_found` for an unknown job; where `follow` would open one stream too many 429 `client_limit`
    (RFC 6585) of one address or `quota_exceeded` of the project, 503 `too_many_streams` in all.
    """
    if tail is None:
        text, end = _whole_log(service, id)
    else:
        with service.database.read() as session:
            lifecycle.get(session, id)
            text, end = history.log_tail(session, id, tail)
    if not follow or is_head(request):
        return PlainTextResponse(text)
    return StreamResponse(service, request, _follow(service, id, text, end), "text/plain; charset=utf-8")


def _whole_log(service: Acting, id: str) -> tuple[str, int]:
    """The log, and its length in bytes. Each piece is read in a transaction of its own."""
    pieces: list[str] = []
    end = 0
    while True:
        text, at, _ = _log_after(service, id, end)
        if not text:
            return "".join(pieces), end
        pieces.append(text)
        end = at


def _log_after(service: Acting, id: str, offset: int) -> tuple[str, int, bool]:
    """The text from byte `offset` on, the offset of its end, and whether the job has ended and this was the rest."""
    with service.database.read() as session:
        job = lifecycle.get(session, id)
        done, size = Status(job.status).final, job.log_bytes
        chunks = history.log_chunks(session, id, from_byte=offset)
    text = "".join(chunk.text for chunk in chunks)
    end = offset + len(text.encode())
    return text, end, done and end >= size


async def _follow(service: Acting, id: str, text: str, offset: int) -> AsyncIterator[bytes]:
    yield text.encode()
    position = offset

    def read_next() -> Chunk:
        nonlocal position
        found, position, final = _log_after(service, id, position)
        return Chunk(found.encode(), more=bool(found), final=final)

    async for piece in follow_job(service, id, read_next, heartbeat=None):
        yield piece
