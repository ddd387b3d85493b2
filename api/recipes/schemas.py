"""Recipes as the API answers them, and those that fit a dataset."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, WithJsonSchema

from addercore import config
from api.http.problems import invalid
from api.schemas import Answer
from jobs.access.scope import OwnTransaction
from jobs.errors import DatasetUnusable
from jobs.repository import datasets

DEFAULT_DATASET = "digits"


RecipeSpec = Annotated[dict[str, Any], WithJsonSchema({"oneOf": [{"$ref": "#/components/schemas/AnalyzeSpec"}]})]


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
    spec = config.recipe_spec(info.name, dataset)
    operations = config.AnalyzeConfig.from_dict(spec).operations()
    return Recipe.model_validate(info.to_dict() | {"operations": operations, "spec": spec})


def fitting(dataset: str) -> list[Recipe]:
    """The recipes that can run on `dataset`, in the paper's order: its images may be too small for a network."""
    found = []
    for info in config.RECIPES.values():
        with suppress(config.InvalidConfig):
            found.append(view(info, dataset))
    return found


def known_dataset(session: OwnTransaction, name: str) -> str:
    """The dataset that `?dataset=` means, as a spec stores it. Raises Problem there when it cannot be used."""
    try:
        return datasets.resolve(session, name)
    except DatasetUnusable as error:
        raise invalid([("/query/dataset", str(error))]) from None
