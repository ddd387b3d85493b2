"""The answer about several jobs side by side."""

from __future__ import annotations

from typing import Any

from api.schemas import Answer, SpecDocument, Time
from jobs.spec import Kind
from jobs.states import Status


class ComparedJob(Answer):
    """One of the compared jobs."""

    id: str
    kind: Kind
    status: Status
    spec: SpecDocument
    labels: dict[str, str]
    created_at: Time
    finished_at: Time | None
    seconds: float | None
    """How long it ran in all its attempts."""
    result: dict[str, Any] | None
    model_id: str | None
    counts: dict[str, Any] | None
    """What its network costs for one image, as in `validate_only`; null for a job without one network of its own."""


class Difference(Answer):
    """A field in which the specs differ."""

    pointer: str
    """JSON pointer into the specs."""
    values: list[Any]
    """The values in order of the jobs; null where a spec does not have the field."""


class Comparison(Answer):
    """Several jobs side by side."""

    jobs: list[ComparedJob]
    differences: list[Difference]
    """Fields in which the specs differ, without labels."""
    metrics: list[str]
    """Names of the metrics that all jobs have."""
    results: dict[str, list[float | None]]
    """Final metrics by name, with the values in order of the jobs."""
