"""The pages `/models` and `/models/{id}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore.config import RECIPES, unfit_for_integers
from api.http.dependencies import ServiceDep
from api.http.listing import readable
from api.jobs.job_view import accuracy
from api.models.cards import card_of
from api.models.files import files_of
from api.models.story import story_of
from api.web.actions import about_model
from api.web.header import PAGE_SIZE, page_header
from api.web.html import error_page, page
from api.web.sorting import AskedDep
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.errors import BadCursor, NotFound, TooManyWords
from jobs.repository import datasets, finding, keeping, models
from jobs.tables import Model

router = APIRouter()


@dataclass(frozen=True)
class ModelView:
    """A model in the list and at the top of its page."""

    id: str
    name: str | None
    """The title that somebody gave it."""
    starred: bool
    labels: Mapping[str, str]
    aliases: Sequence[str]
    job_id: str | None
    source: str
    title: tuple[str, ...]
    """Network, method and dataset."""
    parameters: int
    accuracy: float | None
    """Validation accuracy, 0 to 1."""
    bytes: int
    created_at: int


def _viewer(session: OwnTransaction, rows: Sequence[Model]) -> Callable[[Model], ModelView]:
    """What makes the view of each of these models."""
    ids = [row.id for row in rows]
    labels, aliases = keeping.model_labels(session, ids), keeping.aliases_of(session, ids)

    def make(model: Model) -> ModelView:
        return ModelView(
            id=model.id,
            name=model.name,
            starred=model.starred,
            labels=labels[model.id],
            aliases=aliases[model.id],
            job_id=model.job_id,
            source=model.source,
            title=(model.arch, model.method, *(("integers",) if model.format == "adder" else ()), model.dataset),
            parameters=model.parameters,
            accuracy=accuracy(model.metrics),
            bytes=model.bytes,
            created_at=model.created_at,
        )

    return make


@router.get("/models")
def model_list(
    request: Request,
    service: ServiceDep,
    query: AskedDep,
    after: str = "",
) -> HTMLResponse:
    """All models that match the filters, newest first or as a column says."""
    try:
        asked = query.parse()
        with service.database.read() as session:
            found = finding.list_models(session, asked.wanted(), limit=PAGE_SIZE, after=after or None)
            views = readable(found.rows, _viewer(session, found.rows))
            context = {
                **page_header(session, service.settings, section="models"),
                "filters": asked,
                "models": views.views,
                "unreadable": views.unreadable,
                "next": found.next,
                "after": after,
            }
    except BadCursor as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That page does not exist", str(error))
    except (ValueError, TooManyWords) as error:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That filter does not work", str(error))
    return page(request, "models.html", context)


@router.get("/models/{model_id}")
def model_detail(model_id: str, request: Request, service: ServiceDep) -> HTMLResponse:
    """One model: what it is, a prediction, its files."""
    try:
        with service.database.read() as session:
            model = models.get_model(session, keeping.model_id_of(session, model_id))
            require_readable(model)
            view = _viewer(session, [model])(model)
            quantises = model.format != "adder" and unfit_for_integers(model.manifest) is None
            context = {
                **page_header(session, service.settings, section="models"),
                "model": model,
                "view": view,
                "labels": view.labels,
                "recipes": [] if model.format == "adder" else [one for one in RECIPES.values() if one.takes_model],
                "quantises": quantises,
                "card": card_of(session, model),
                "files": list(files_of(model, exports=service.inference is not None)),
                **story_of(session, model),
                "links": about_model(model.id, datasets.shown(session, model.dataset), quantises=quantises),
            }
    except NotFound:
        detail = f"There is no model {model_id!r}."
        return error_page(request, HTTPStatus.NOT_FOUND, "No such model", detail)
    return page(request, "model.html", context)
