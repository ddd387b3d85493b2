"""Answers about models and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import ConfigDict

from api.jobs.schemas import Operations
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
    def of(cls, row: Row, labels: Mapping[str, str], aliases: Sequence[str], **more: object) -> Self:
        """The answer for a row; `more` are fields that the row has not."""
        apart = {"labels": labels, "aliases": aliases, **more}
        return cls.model_validate(apart | {name: getattr(row, name) for name in cls.model_fields if name not in apart})


class Costs(Answer):
    """What one image costs a network, counted (docs/counts.md)."""

    operations: Operations
    parameter_bytes: int
    """Size of all parameters in numbers of `data_type`."""
    energy_joules: float
    """Energy of the arithmetic at 45 nm, without memory traffic."""
    data_type: str
    """Type of the numbers: `fp32`, or `int8` of an integer model."""


class Timed(Answer):
    """How long a call took on a processor."""

    engine: str
    precision: str
    batch: int
    """Images of the call."""
    threads: int
    p50_ms: float
    """Median, in milliseconds."""
    p99_ms: float
    bytes: int
    """Size of the file that the engine reads."""


class Latency(Answer):
    """What the newest benchmark of a model measured (docs/latency.md)."""

    job_id: str
    measured_at: Time
    processor: str | None
    """Its name; null where it is not known."""
    model: Timed | None
    """The fastest way to run the model, with the first batch size of the job."""
    twin: Timed | None
    """The fastest form of its convolutional twin; null where that was not measured."""


class Model(ModelRow):
    """A trained or imported model."""

    costs: Costs | None
    """What one image costs the model; null where its manifest describes no network."""
    twin_costs: Costs | None
    """The same of the convolutional network of the same architecture, in numbers of the same type."""
    latency: Latency | None
    """Measured by the newest benchmark of the model that succeeded; null where there is none."""
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
