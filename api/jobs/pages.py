"""The pages `/` (all jobs) and `/jobs/{id}`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from addercore.config import unfit_for_integers
from api.access.acting import Acting
from api.http.dependencies import ServiceDep, known_id
from api.http.listing import readable, readable_rows
from api.http.lists import SORT_JOBS, SORTS_JOBS
from api.http.web_forms import form_pairs
from api.jobs.analysis_view import analysis_view, run_names
from api.jobs.columns import as_cell, known_columns
from api.jobs.confusion import confusion_of, mistakes_of
from api.jobs.creation import continue_training
from api.jobs.filters import Filters, parse_filters
from api.jobs.grouping import MOST_GROUPED, Group, groups_of
from api.jobs.job_view import FAILURES, GROUPS, JobView, accuracy, actions, dataset_name, job_view
from api.jobs.listing import all_jobs
from api.jobs.queue_positions import QueuePositions
from api.new.fields import groups_of as fields_of
from api.new.form import document_of
from api.web.actions import Link, about_model
from api.web.formats import iso
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from api.web.sorting import AskedDep
from jobs import system_metrics
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.errors import BadCursor, NotFound, TooManyWords
from jobs.repository import attempts, core, datasets, finding, history, lifecycle
from jobs.spec import KINDS, SUBMITTED, Continuation
from jobs.states import Status, shown_progress
from jobs.tables import Job, Model

router = APIRouter()

LOG_LINES = 500
"""Lines of the log on a job's page: the last ones."""
MOST_LINES = 10_000
"""Jobs of the table as CSV: the first ones of the list."""
CSV_COLUMNS = ("id", "name", "kind", "status", "created_at", "seconds", "val/accuracy", "labels")
EVENTS = 200
"""Events on a job's page: the newest ones."""


@router.get("/")
def job_list(
    request: Request,
    service: ServiceDep,
    asked: AskedDep,
    status: Annotated[list[str], Query()] = [],  # noqa: B006  (a declaration: FastAPI copies it)
    kind: str = "",
    col: Annotated[list[str], Query()] = [],  # noqa: B006
    group: str = "",
    after: str = "",
) -> HTMLResponse:
    """All jobs that match the filters, newest first or as a column says; by groups where a label is named."""
    try:
        filters = parse_filters(asked.parse(SORT_JOBS, SORTS_JOBS), status, kind, col, group)
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
    labels = lifecycle.labels_of(session, [job.id for job in rows.views])
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
        "cells": {job.id: [one.shown(job, labels[job.id]) for one in filters.columns] for job in rows.views},
        "known_columns": known_columns(rows.views, labels),
        "label_names": sorted({key for mine in labels.values() for key in mine}),
        "grouped": _grouped(session, filters) if filters.group else None,
        "unreadable": [*rows.unreadable, *views.unreadable],
        "next": found.next,
        "after": after,
    }


def _grouped(session: OwnTransaction, filters: Filters) -> list[Group]:
    jobs = all_jobs(session, filters, MOST_GROUPED)
    labels = lifecycle.labels_of(session, [job.id for job in jobs])
    return groups_of(jobs, labels, filters.group, filters.columns)


@router.get("/jobs.csv")
def job_table(
    request: Request,
    service: ServiceDep,
    asked: AskedDep,
    status: Annotated[list[str], Query()] = [],  # noqa: B006
    kind: str = "",
    col: Annotated[list[str], Query()] = [],  # noqa: B006
) -> Response:
    """The table of jobs as CSV: the view of the page `/` with the same address, all of its pages in one."""
    try:
        filters = parse_filters(asked.parse(SORT_JOBS, SORTS_JOBS), status, kind, col)
        with service.database.read() as session:
            jobs = all_jobs(session, filters, MOST_LINES)
            labels = lifecycle.labels_of(session, [job.id for job in jobs])
            seconds = attempts.run_seconds(session, [job.id for job in jobs])
    except (ValueError, BadCursor, TooManyWords) as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That filter does not work", str(error))
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([*CSV_COLUMNS, *(column.name for column in filters.columns)])
    for job in jobs:
        mine = labels[job.id]
        made = (job.id, job.name, job.kind, job.status, iso(job.created_at), seconds.get(job.id), accuracy(job.result))
        named = ";".join(f"{key}:{value}" for key, value in mine.items())
        chosen = (column.value(job, mine) for column in filters.columns)
        lines.writerow([as_cell(value) for value in (*made, named, *chosen)])
    headers = {"Content-Disposition": 'attachment; filename="jobs.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


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


@router.get("/jobs")
def jobs_elsewhere(request: Request) -> RedirectResponse:
    """The list stands at `/`, and people look for it here too."""
    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/", HTTPStatus.PERMANENT_REDIRECT)


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
        "links": _links(session, job),
        "continues": job.kind == "train" and view.status is Status.SUCCEEDED and has_checkpoint,
        "final": view.status.final,
        "error": _error(job),
        "events": history.latest_events(session, job.id, EVENTS),
        "log": log,
        "artifacts": artifacts,
        "analysis": analysis,
        "runs": run_names(job),
        "system_metrics": system_metrics.NAMES,
        "sampled": history.last_value(session, job.id, system_metrics.CPU) is not None,
        "labels": view.labels,
        "scalars": [] if analysis else _scalars(job.result),
        "confusion": confusion_of(job),
        "mistakes": mistakes_of(job, artifacts),
    }


def _links(session: OwnTransaction, job: Job) -> list[Link]:
    """Forms that begin with this job, or with the model that it published."""
    found = [Link("Duplicate and edit", f"/new?{urlencode({'from': job.id})}")] if job.kind in SUBMITTED else []
    model = None if job.model_id is None else session.get(Model, job.model_id)
    if model is not None:
        fits = model.format != "adder" and unfit_for_integers(model.manifest) is None
        found += about_model(model.id, datasets.shown(session, model.dataset), quantises=fits)
    return found


@router.post("/jobs/{job_id}/continue")
async def continue_job(job_id: str, request: Request, service: ServiceDep) -> Response:
    """Continues a finished training, by the form of its page."""
    await run_sync(_require, service, job_id)
    pairs = await form_pairs(request, service.settings.max_body_bytes)
    document = document_of(fields_of(Continuation), pairs)
    job, _ = await run_sync(continue_training, service, job_id, document)
    return RedirectResponse(f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)


def _require(service: Acting, job_id: str) -> None:
    """Raises NotFound for a job that the caller has not."""
    with service.database.read() as session:
        lifecycle.get(session, known_id("job", job_id))


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
    """The values of a result that fit on one line, also of what a quantisation measured of both models, and
    which images validated a training. Other objects
    and lists are shown elsewhere."""
    found = []
    for name, value in (result or {}).items():
        apart = name in ("float", "integer", "operations", "validation") and isinstance(value, dict)
        inner = {f"{name} {part}": one for part, one in value.items()} if apart else {name: value}
        found += [(shown, one) for shown, one in inner.items() if isinstance(one, str | int | float)]
    return found
