"""Recipes: the tables and figures of the paper, each with a spec that computes it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import ConfigDict, WithJsonSchema
from sqlalchemy.orm import Session

from addercore import config
from api.bodies import encoded
from api.dependencies import After, Limit, ServiceDep, known_query
from api.problems import documented, invalid
from api.schemas import Answer, Page
from jobs.errors import BadCursor, DatasetUnusable, NotFound
from jobs.repository import datasets

router = APIRouter(prefix="/v1/recipes", tags=["recipes"], dependencies=[Depends(known_query)])

DEFAULT_DATASET = "digits"
RecipeSpec = Annotated[dict[str, Any], WithJsonSchema({"oneOf": [{"$ref": "#/components/schemas/AnalyzeSpec"}]})]
DatasetName = Annotated[
    str,
    Query(max_length=100, description="What the spec runs on, published or a user's.", examples=["mnist"]),
]


class Recipe(Answer):
    """A table or figure of the paper that an `analyze` job computes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    title: str
    reference: str
    """Where the paper has it."""
    description: str
    output: Literal["table", "figure"]
    """What it is in the paper; a job yields a table and a picture of either."""
    datasets: list[str]
    """Those of the paper."""
    takes_model: bool
    """Whether the spec may name a model (`model_id`) in place of networks that the job trains."""
    options: list[str]
    """Which of `archs`, `methods` and `etas` the spec may set; seeds, epochs and batch_size it always may."""
    controls: list[str]
    """Values of the spec's `control`."""
    operations: int
    """Estimate of all that `spec` computes: additions, multiplications and XNORs of its trainings."""
    spec: RecipeSpec
    """For `POST /v1/jobs` as it is, for the dataset that was asked for."""


def view(info: config.RecipeInfo, dataset: str = DEFAULT_DATASET) -> Recipe:
    """A recipe whose spec runs on `dataset`. Raises InvalidConfig where it cannot."""
    spec = info.spec(dataset)
    operations = config.AnalyzeConfig.from_dict(spec).operations()
    return Recipe.model_validate(info.to_dict() | {"operations": operations, "spec": spec})


def fitting(dataset: str) -> list[Recipe]:
    """The recipes that can run on `dataset`, in the paper's order: its images may be too small for a network."""
    found = []
    for info in config.RECIPES.values():
        with suppress(config.InvalidConfig):
            found.append(view(info, dataset))
    return found


def known_dataset(session: Session, name: str) -> str:
    """The dataset that `?dataset=` means, as a spec stores it. Raises Problem there when it cannot be used."""
    try:
        return datasets.resolve(session, name)
    except DatasetUnusable as error:
        raise invalid([("/query/dataset", str(error))]) from None


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
