"""The page `/recipes`: the paper's tables and figures, each with the command that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from addercore import config
from api.access.acting import Acting
from api.http.dependencies import ServiceDep
from api.http.problems import Problem
from api.recipes.schemas import DEFAULT_DATASET, Recipe, fitting, known_dataset
from api.web.header import page_header
from api.web.html import error_page, page
from jobs.access.scope import OwnTransaction
from jobs.repository import datasets, outlook
from jobs.scheduling import MEGA, kind_of

router = APIRouter()

MOST_DATASETS = 100
"""Datasets of users to choose from, newest first."""


@dataclass(frozen=True)
class Card:
    """A recipe on the page."""

    recipe: Recipe
    seconds: float | None
    """Expected duration of the job on the best device here; None where that is not known yet."""
    device: str


@router.get("/recipes")
def recipe_list(request: Request, service: ServiceDep, dataset: str = DEFAULT_DATASET) -> HTMLResponse:
    """The recipes that can run on a dataset."""
    try:
        with service.database.read() as session:
            context = _context(session, service, dataset)
    except Problem as problem:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That dataset does not work", problem.detail)
    return page(request, "recipes.html", context)


def _context(session: OwnTransaction, service: Acting, dataset: str) -> dict[str, Any]:
    name = known_dataset(session, dataset)
    header = page_header(session, service.settings, section="recipes")
    device = "cuda" if any(kind_of(worker.device) == "cuda" for worker in header["service"].workers) else "cpu"
    pace = outlook.paces(session).get(device)
    recipes = fitting(name)
    uploaded = datasets.list_page(session, limit=MOST_DATASETS, after=None).rows
    return {
        **header,
        "cards": [
            Card(one, None if pace is None else max(1.0, pace.seconds(one.operations // MEGA)), device)
            for one in recipes
        ],
        "dataset": dataset,
        "default": DEFAULT_DATASET,
        "datasets": sorted({*config.DATASETS, dataset, *(row.name for row in uploaded)}),
    }
