"""`/recipes`: the tables and figures of the paper, each with the command that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from addercore import config
from api.http.dependencies import ServiceDep
from api.http.problems import Problem
from api.recipes.schemas import DEFAULT_DATASET, Recipe, fitting, known_dataset
from api.service import Service
from api.web.header import health
from api.web.html import error_page, page
from jobs.repository import datasets, outlook
from jobs.scheduling import MEGA, kind_of

router = APIRouter()

MOST_DATASETS = 100
"""Of users', newest first, to choose from."""


@dataclass(frozen=True)
class Card:
    recipe: Recipe
    seconds: float | None
    """How long the job is expected to take on the best device here, where that is known."""
    device: str


@router.get("/recipes")
def recipe_list(request: Request, service: ServiceDep, dataset: str = DEFAULT_DATASET) -> HTMLResponse:
    try:
        with service.database.read() as session:
            context = _context(session, service, dataset)
    except Problem as problem:
        return error_page(request, HTTPStatus.BAD_REQUEST, "That dataset does not work", problem.detail)
    return page(request, "recipes.html", context)


def _context(session: Session, service: Service, dataset: str) -> dict[str, Any]:
    name = known_dataset(session, dataset)
    state = health(session, service.settings)
    device = "cuda" if any(kind_of(worker.device) == "cuda" for worker in state.workers) else "cpu"
    pace = outlook.paces(session).get(device)
    recipes = fitting(name)
    uploaded = datasets.list_page(session, limit=MOST_DATASETS, after=None).rows
    return {
        "section": "recipes",
        "health": state,
        "cards": [
            Card(one, None if pace is None else max(1.0, pace.seconds(one.operations // MEGA)), device)
            for one in recipes
        ],
        "dataset": dataset,
        "default": DEFAULT_DATASET,
        "datasets": sorted({*config.DATASETS, dataset, *(row.name for row in uploaded)}),
    }
