"""The pages `/` (all jobs) and `/jobs/{id}`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from addercore.config import dataset, is_dataset
from api.access.acting import Acting
from api.http.dependencies import ServiceDep, known_id
from api.http.listing import readable, readable_rows
from api.jobs.analysis_view import analysis_view, run_names
from api.jobs.filters import Filters, parse_filters
from api.jobs.job_view import FAILURES, GROUPS, JobView, actions, dataset_name, job_view
from api.jobs.queue_positions import QueuePositions
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from api.web.sorting import AskedDep
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.errors import BadCursor, NotFound, TooManyWords
from jobs.repository import attempts, core, datasets, finding, history, lifecycle
from jobs.spec import KINDS
from jobs.states import Status, shown_progress
from jobs.tables import Job

router = APIRouter()

LOG_LINES = 500
"""Lines of the log on a job's page: the last ones."""
EVENTS = 200
"""Events on a job's page: the newest ones."""


@router.get("/")
def job_list(
    request: Request,
    service: ServiceDep,
    asked: AskedDep,
    status: Annotated[list[str], Query()] = [],  # noqa: B006  (a declaration: FastAPI copies it)
    kind: str = "",
    after: str = "",
) -> HTMLResponse:
    """All jobs that match the filters, newest first or as a column says."""
    try:
        filters = parse_filters(asked.parse(), status, kind)
        with service.database.read() as session:
            context = _list_context(session, service, filters, after)
    except (ValueError, BadCursor, TooManyWords) as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That filter does not work", str(error))
    return page(request, "jobs.html", context)


def _list_context(session: OwnTransaction, service: Acting, filters: Filters, after: str) -> dict[str, Any]:
    found = finding.list_jobs(
        session,
        filters.wanted(),
        status=filters.status,
        kind=filters.kind or None,
        limit=PAGE_SIZE,
        after=after or None,
    )
    rows = readable_rows(found.rows)
    views = readable(rows.views, _job_viewer(session, service.queue_positions, rows.views))
    header = page_header(session, service.settings, section="jobs")
    counts = header["service"].counts
    groups = []
    for name, statuses in GROUPS:
        count = sum(counts[s] for s in statuses) if statuses else sum(counts.values())
        groups.append((name, filters.with_status(statuses), count, filters.status == statuses))
    return {
        **header,
        "filters": filters,
        "groups": groups,
        "counted": filters.counted,
        "kinds": sorted({*KINDS, filters.kind} - {""}),
        "jobs": views.views,
        "unreadable": [*rows.unreadable, *views.unreadable],
        "next": found.next,
        "after": after,
    }


def _job_viewer(
    session: OwnTransaction, queue_positions: QueuePositions, rows: Sequence[Job]
) -> Callable[[Job], JobView]:
    """What makes the view of each of these jobs."""
    labels = lifecycle.labels_of(session, [job.id for job in rows])
    positions = queue_positions.of(session, rows)
    now = core.now(session)
    names = datasets.names_by_id(session, [dataset_name(job.spec) for job in rows])
    seconds = attempts.run_seconds(session, [job.id for job in rows])

    def make(job: Job) -> JobView:
        accuracy = _latest_accuracy(session, job)
        return job_view(job, labels[job.id], positions.get(job.id), accuracy, now, seconds.get(job.id), names)

    return make


def _latest_accuracy(session: OwnTransaction, job: Job) -> float | None:
    """Validation accuracy of the last epoch, for a job that has begun and has no result yet."""
    if job.result is not None or job.started_at is None or job.status == Status.QUEUED:
        return None
    return history.last_value(session, job.id, "val/accuracy")


@router.get("/jobs/{job_id}")
def job_detail(job_id: str, request: Request, service: ServiceDep) -> HTMLResponse:
    """One job: progress, curves, result, files, log, events."""
    try:
        with service.database.read() as session:
            context = _detail_context(session, service, lifecycle.get(session, known_id("job", job_id)))
    except NotFound:
        detail = f"There is no job {job_id!r}. It may have been deleted."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such job", detail)
    return page(request, "job.html", context)


def _detail_context(session: OwnTransaction, service: Acting, job: Job) -> dict[str, Any]:
    require_readable(job)
    view = _job_viewer(session, service.queue_positions, [job])(job)
    log, _ = history.log_tail(session, job.id, LOG_LINES)
    has_checkpoint = bool(attempts.resume_points(session, job.id)[0])
    artifacts = history.artifacts(session, job.id)
    analysis = analysis_view(job, artifacts)
    return {
        **page_header(session, service.settings, section="jobs"),
        "job": job,
        "view": view,
        "progress": shown_progress(view.status, job.progress) or {},
        "actions": actions(job, has_checkpoint),
        "final": view.status.final,
        "error": _error(job),
        "events": history.latest_events(session, job.id, EVENTS),
        "log": log,
        "artifacts": artifacts,
        "analysis": analysis,
        "runs": run_names(job),
        "labels": view.labels,
        "scalars": [] if analysis else _scalars(job.result),
        "confusion": _confusion(job),
    }


def _error(job: Job) -> dict[str, str] | None:
    if not job.error:
        return None
    code, tail = str(job.error.get("code", "")), job.error.get("log_tail") or ""
    return {
        "code": code,
        "title": FAILURES.get(code, "Failed"),
        "message": str(job.error.get("message", "")),
        "log_tail": "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail),
    }


def _scalars(result: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """The values of a result that fit on one line, also of what a quantisation measured of both models. Other objects
    and lists are shown elsewhere."""
    found = []
    for name, value in (result or {}).items():
        apart = name in ("float", "integer", "operations") and isinstance(value, dict)
        inner = {f"{name} {part}": one for part, one in value.items()} if apart else {name: value}
        found += [(shown, one) for shown, one in inner.items() if isinstance(one, str | int | float)]
    return found


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix of an evaluation."""

    classes: Sequence[str]
    rows: Sequence[Sequence[tuple[int, int]]]
    """Cells as `(count, shade)`; the shade, 0 to 9, is the count's share of its row."""


def _confusion(job: Job) -> Confusion | None:
    matrix = (job.result or {}).get("confusion_matrix")
    if not (isinstance(matrix, list) and matrix and all(isinstance(row, list) for row in matrix)):
        return None
    if not all(isinstance(cell, int) and cell >= 0 for row in matrix for cell in row):
        return None
    name = dataset_name(job.spec)
    known = dataset(name).classes if is_dataset(name) else ()
    classes = known if len(known) == len(matrix) else [str(i) for i in range(len(matrix))]
    return Confusion(classes, [[(cell, _shade(cell, sum(row))) for cell in row] for row in matrix])


def _shade(cell: int, total: int) -> int:
    """0 only for an empty cell, so that one error among a thousand still shows."""
    return 0 if cell == 0 else 1 + min(8, round(8 * cell / total))
