"""The pages `/models` and `/models/{id}`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore.config import RECIPES
from api.http.dependencies import ServiceDep, known_id
from api.http.listing import readable
from api.jobs.job_view import accuracy
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from jobs.documents import require_readable
from jobs.errors import BadCursor, NotFound
from jobs.repository import models
from jobs.tables import Model

router = APIRouter()


@dataclass(frozen=True)
class ModelView:
    """A model in the list and at the top of its page."""

    id: str
    job_id: str | None
    source: str
    title: tuple[str, ...]
    """Network, method and dataset."""
    parameters: int
    accuracy: float | None
    """Validation accuracy, 0 to 1."""
    bytes: int
    created_at: int


def model_view(model: Model) -> ModelView:
    """The view of one model."""
    return ModelView(
        id=model.id,
        job_id=model.job_id,
        source=model.source,
        title=(model.arch, model.method, model.dataset),
        parameters=model.parameters,
        accuracy=accuracy(model.metrics),
        bytes=model.bytes,
        created_at=model.created_at,
    )


@router.get("/models")
def model_list(request: Request, service: ServiceDep, after: str = "") -> HTMLResponse:
    """All models, newest first."""
    try:
        with service.database.read() as session:
            found = models.list_models(session, limit=PAGE_SIZE, after=after or None)
            views = readable(found.rows, model_view)
            context = {
                **page_header(session, service.settings, section="models"),
                "models": views.views,
                "unreadable": views.unreadable,
                "next": found.next,
                "after": after,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    return page(request, "models.html", context)


@router.get("/models/{model_id}")
def model_detail(model_id: str, request: Request, service: ServiceDep) -> HTMLResponse:
    """One model: what it is, a prediction, its files."""
    try:
        with service.database.read() as session:
            model = models.get_model(session, known_id("model", model_id))
            require_readable(model)
            context = {
                **page_header(session, service.settings, section="models"),
                "model": model,
                "view": model_view(model),
                "recipes": [info for info in RECIPES.values() if info.takes_model],
            }
    except NotFound:
        detail = f"There is no model {model_id!r}."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such model", detail)
    return page(request, "model.html", context)
