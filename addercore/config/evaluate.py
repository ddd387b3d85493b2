"""An evaluation's configuration: a model, and the images to try it on."""

from typing import Annotated, Final

from pydantic import Field

from addercore.config.fields import WHOLE, Config, ModelId
from addercore.config.holdout import Part
from addercore.config.sections import DatasetConfig

MISTAKES_NAME: Final = "mistakes.png"
"""Of a picture of an evaluation's worst mistakes among its artifacts."""


class EvaluateConfig(Config):
    """Which model to evaluate on what; `model_id` and `dataset.name` are required."""

    model_id: ModelId
    """Id of the model."""
    dataset: DatasetConfig
    """The images; they must have the size and the classes that the model takes."""
    split: Part = "validation"
    """Which images of the dataset: of a model whose training had a `dataset.holdout`, `train` are those it learnt from,
    `validation` those held out, and `test` the published test images, at which its training never looked. Of other
    models `test` and `validation` are the same."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] = 256
    """Images that are computed at a time; the result does not depend on it."""
