"""Recipes: the tables and figures of the paper, each with a spec that computes it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from addercore import config
from api.http.bodies import json_response
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
    """Returns the recipes that can run on the dataset, in the paper's order.

    Errors: 422 `invalid` for an unknown dataset; 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        name = known_dataset(session, dataset)
    rows = fitting(name)
    if after is not None:
        names = [row.name for row in rows]
        if after not in names:
            raise BadCursor(after)
        rows = rows[names.index(after) + 1 :]
    more = len(rows) > limit
    return json_response(Page[Recipe](data=rows[:limit], has_more=more, next=rows[limit - 1].name if more else None))


@router.get("/{name}", response_model=Recipe, summary="Show a recipe", responses=documented("invalid", "not_found"))
def show(
    service: ServiceDep,
    name: Annotated[str, Path(max_length=40, description="Name of a recipe.", examples=["table1"])],
    dataset: DatasetName = DEFAULT_DATASET,
) -> Response:
    """Returns one recipe: what it computes, what that costs, and a spec for `POST /v1/jobs`.

    Errors: 404 `not_found` for an unknown recipe; 422 `invalid` for a dataset that is unknown or too small for it.
    """
    if name not in config.RECIPES:
        raise NotFound("recipe", name)
    with service.database.read() as session:
        on = known_dataset(session, dataset)
    try:
        return json_response(view(config.RECIPES[name], on))
    except config.InvalidConfig as error:
        raise invalid([("/query/dataset", f"{name} cannot run on {dataset}: {error}")]) from None
