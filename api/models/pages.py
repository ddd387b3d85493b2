"""`/models` and `/models/{id}`."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore.config import RECIPES
from api.http.dependencies import ServiceDep
from api.jobs.view import model_view
from api.web.header import PAGE_SIZE, health
from api.web.html import error_page, page
from jobs.errors import BadCursor, NotFound
from jobs.ids import ID_PATTERN
from jobs.repository import catalog, core

router = APIRouter()


@router.get("/models")
def model_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    try:
        with service.database.read() as session:
            found = catalog.list_models(session, limit=PAGE_SIZE, after=after or None)
            context = {
                "section": "models",
                "health": health(session, service.settings),
                "models": [model_view(model) for model in found.rows],
                "next": found.next,
                "after": after,
                "now": core.now(session),
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "models.html", context)


@router.get("/models/{model_id}")
def model_detail(model_id: str, request: Request, service: ServiceDep) -> HTMLResponse:
    try:
        with service.database.read() as session:
            if not ID_PATTERN.match(model_id):  # not even asked: PostgreSQL refuses NUL
                raise NotFound("model", model_id)
            model = catalog.get_model(session, model_id)
            context = {
                "section": "models",
                "health": health(session, service.settings),
                "model": model,
                "view": model_view(model),
                "recipes": [info for info in RECIPES.values() if info.takes_model],
                "now": core.now(session),
            }
    except NotFound:
        detail = f"There is no model {model_id!r}."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such model", detail)
    return page(request, "model.html", context)
