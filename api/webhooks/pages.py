"""The pages `/webhooks` and `/webhooks/{webhook_id}`."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.http.dependencies import ServiceDep, known_id
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from jobs.errors import BadCursor, NotFound
from jobs.webhooks import repository
from jobs.webhooks.events import EventType

router = APIRouter()


@router.get("/webhooks")
def webhook_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """The webhooks of the project."""
    try:
        with service.database.read() as session:
            found = repository.list_webhooks(session, limit=PAGE_SIZE, after=after or None)
            context = {
                **page_header(session, service.settings, section="webhooks"),
                "project": service.caller.project_name,
                "hooks": found.rows,
                "every": len(EventType),
                "next": found.next,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "webhooks.html", context)


@router.get("/webhooks/{webhook_id}")
def webhook_page(request: Request, service: ServiceDep, webhook_id: str, after: str = "") -> HTMLResponse:
    """One webhook with its deliveries."""
    try:
        with service.database.read() as session:
            hook = repository.get(session, known_id("webhook", webhook_id))
            found = repository.list_deliveries(session, hook.id, limit=PAGE_SIZE, after=after or None)
            context = {
                **page_header(session, service.settings, section="webhooks"),
                "hook": hook,
                "deliveries": found.rows,
                "next": found.next,
            }
    except NotFound as error:
        return error_page(request, HTTPStatus.NOT_FOUND, "No such webhook", f"{error} It may have been deleted.")
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "webhook.html", context)
