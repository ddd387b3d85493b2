"""Recipes: the tables and figures of the paper, each with a spec that computes it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from addercore import config
from api.http.bodies import encoded
from api.http.dependencies import After, Limit, ServiceDep, known_query
from api.http.problems import documented, invalid
from api.recipes.schemas import DEFAULT_DATASET, Recipe, fitting, known_dataset, view
from api.schemas import Page
from jobs.errors import BadCursor, NotFound

router = APIRouter(prefix="/v1/recipes", tags=["recipes"], dependencies=[Depends(known_query)])

DatasetName = Annotated[
    str,
    Query(max_length=100, description="What the spec runs on, published or a user's.", examples=["mnist"]),
]


@router.get("", response_model=Page[Recipe], summary="List recipes", responses=documented("invalid", "bad_cursor"))
def list_recipes(
    service: ServiceDep, dataset: DatasetName = DEFAULT_DATASET, limit: Limit = 20, after: After = None
) -> Response:
    """In the paper's order; those that can run on the dataset."""
    with service.database.read() as session:
        name = known_dataset(session, dataset)
    rows = fitting(name)
    if after is not None:
        names = [row.name for row in rows]
        if after not in names:
            raise BadCursor(after)
        rows = rows[names.index(after) + 1 :]
    more = len(rows) > limit
    return encoded(Page[Recipe](data=rows[:limit], has_more=more, next=rows[limit - 1].name if more else None))


@router.get("/{name}", response_model=Recipe, summary="Show a recipe", responses=documented("invalid", "not_found"))
def show(
    service: ServiceDep,
    name: Annotated[str, Path(max_length=40, examples=["table1"])],
    dataset: DatasetName = DEFAULT_DATASET,
) -> Response:
    """What it computes, and a spec to submit."""
    if name not in config.RECIPES:
        raise NotFound("recipe", name)
    with service.database.read() as session:
        on = known_dataset(session, dataset)
    try:
        return encoded(view(config.RECIPES[name], on))
    except config.InvalidConfig as error:
        raise invalid([("/query/dataset", f"{name} cannot run on {dataset}: {error}")]) from None
