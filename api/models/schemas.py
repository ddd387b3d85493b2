"""Answers about models and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import ConfigDict

from api.schemas import Answer, Time
from jobs.tables import Model as Row


class ModelRow(Answer):
    """A trained, quantised or imported model as it stands in the list."""

    id: str
    source: Literal["trained", "imported"]
    job_id: str | None
    """The job that made it; null for an imported model, and once the job is deleted."""
    arch: str
    method: str
    dataset: str
    parameters: int
    metrics: dict[str, Any] | None
    """Final metrics of its training; accuracies are shares, 0 to 1."""
    format: Literal["safetensors", "adder"]
    """`safetensors`: float weights; `adder`: an integer model."""
    derived_from: str | None
    """The float model that an integer model was made of; it may be deleted since."""
    bytes: int
    """Size of the model's file."""
    sha256: str
    created_at: Time
    name: str | None
    """A title that somebody gave it."""
    notes: str | None
    labels: dict[str, str]
    starred: bool
    aliases: list[str]
    """Names that stand wherever the id may."""

    @classmethod
    def of(cls, row: Row, labels: Mapping[str, str], aliases: Sequence[str]) -> Self:
        """The answer for a row."""
        apart = {"labels": labels, "aliases": aliases}
        return cls.model_validate(apart | {name: getattr(row, name) for name in cls.model_fields if name not in apart})


class Model(ModelRow):
    """A trained or imported model."""

    manifest: dict[str, Any]
    """Network, preprocessing and classes: all that is needed to rebuild the model."""


class Prediction(Answer):
    """What a model makes of one image."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={"example": {"label": "7", "probabilities": {"7": 0.98, "1": 0.02}, "notes": []}},
    )

    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Probability of each class, 0 to 1."""
    notes: tuple[str, ...] = ()
    """What was decided about the image: turned upright, laid on white, its range."""
