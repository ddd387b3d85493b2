"""Answers about models and predictions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from api.schemas import Answer, Time


class ModelRow(Answer):
    """A trained or imported model as it stands in the list."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    id: str
    source: Literal["trained", "imported"]
    job_id: str | None
    """The job that trained it; null for an imported model, and once the job is deleted."""
    arch: str
    method: str
    dataset: str
    parameters: int
    metrics: dict[str, Any] | None
    """Final metrics of its training; accuracies are shares, 0 to 1."""
    bytes: int
    """Size of the weights file."""
    sha256: str
    created_at: Time


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
