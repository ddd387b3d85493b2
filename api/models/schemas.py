"""Models and predictions, as the API answers them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from api.schemas import Answer, Time


class Model(Answer):
    """A trained or imported model."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    id: str
    source: Literal["trained", "imported"]
    job_id: str | None
    """The job that trained it; null once imported or when that job is deleted."""
    arch: str
    method: str
    dataset: str
    parameters: int
    metrics: dict[str, Any] | None
    bytes: int
    sha256: str
    created_at: Time
    manifest: dict[str, Any]
    """Network, preprocessing, classes: what rebuilds the model."""


class Prediction(Answer):
    model_config = ConfigDict(json_schema_extra={"example": {"label": "7", "probabilities": {"7": 0.98, "1": 0.02}}})

    label: str
    probabilities: dict[str, float]
