"""`/datasets`: what can be trained on, users' uploads with their problems, and a form for one more."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore.config import FORMATS, MAX_SIDE
from api.datasets.availability import listed
from api.http.dependencies import ServiceDep
from api.web.header import PAGE_SIZE, health
from api.web.html import error_page, page
from jobs.errors import BadCursor
from jobs.repository import core

router = APIRouter()

TONES = {"ready": "succeeded", "missing": "queued", "validating": "running", "failed": "failed"}
"""A dataset's state in the colours of a job's."""
SHOWN = 5
"""Problems of a dataset that stand on the page; the rest is folded."""


@router.get("/datasets")
def dataset_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    try:
        with service.database.read() as session:
            found = listed(service, session, PAGE_SIZE, after or None)
            context = {
                "section": "datasets",
                "health": health(session, service.settings),
                "datasets": found.data,
                "next": found.next,
                "after": after,
                "now": core.now(session),
                "shown": SHOWN,
                "tones": TONES,
                "formats": FORMATS,
                "max_side": MAX_SIDE,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "datasets.html", context)
