"""The page `/datasets`: published datasets, users' uploads with their problems, and a form to upload one."""

from __future__ import annotations

from http import HTTPStatus
from typing import get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore.config import FORMATS, MAX_SIDE, IntakeOptions
from addercore.config.predict import TransparentOn, ValueRange
from api.datasets.availability import datasets_page
from api.http.dependencies import ServiceDep
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from jobs.errors import BadCursor

router = APIRouter()

TONES = {"ready": "succeeded", "missing": "queued", "validating": "running", "failed": "failed"}
"""The job status whose colour shows a dataset's status."""
SHOWN = 5
"""Problems of a dataset that are visible at once; the rest is folded."""


@router.get("/datasets")
def dataset_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """Published datasets by name, then users' own, newest first."""
    try:
        with service.database.read() as session:
            found = datasets_page(service, session, PAGE_SIZE, after or None)
            context = {
                **page_header(session, service.settings, section="datasets"),
                "datasets": found.data,
                "unreadable": found.unreadable,
                "next": found.next,
                "after": after,
                "shown": SHOWN,
                "tones": TONES,
                "formats": FORMATS,
                "max_side": MAX_SIDE,
                "defaults": IntakeOptions(),
                "grounds": get_args(TransparentOn),
                "ranges": get_args(ValueRange),
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "datasets.html", context)
