"""What a model costs for one image and how long it takes, beside its convolutional twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from addercore.arch import Counts, check_manifest, count
from addercore.errors import BadModel
from api.models.schemas import Costs, Latency, Timed
from jobs import documents
from jobs.access.scope import OwnTransaction
from jobs.repository import models
from jobs.tables import Job, Model


@dataclass(frozen=True)
class Card:
    """What stands in a model's document as well."""

    costs: Costs | None
    twin_costs: Costs | None
    latency: Latency | None


def card_of(session: OwnTransaction, model: Model) -> Card:
    """The card of a model whose manifest can be read."""
    costs = twin = None
    try:
        network = check_manifest(model.manifest)
    except BadModel:  # of an older version
        pass
    else:
        part = model.manifest["network"]
        numbers: Literal["int8", "fp32"] = "int8" if model.format == "adder" else "fp32"
        costs = _costs(count(network, part["method"], part["first_last"], numbers))
        twin = _costs(count(network, "conv", "conv", numbers))
    measured = models.newest_benchmark(session, model.id)
    return Card(costs=costs, twin_costs=twin, latency=None if measured is None else _latency(measured))


def _costs(counts: Counts) -> Costs:
    return Costs.model_validate(counts.totals())


def _latency(job: Job) -> Latency | None:
    """What a benchmark found, as far as its result says it."""
    try:
        documents.require_readable(job)
    except documents.Unreadable:
        return None
    result = job.result or {}
    chip = result.get("processor")
    name = chip.get("name") if isinstance(chip, dict) else None
    return Latency(
        job_id=job.id,
        measured_at=job.finished_at or job.created_at,
        processor=name if isinstance(name, str) else None,
        model=_timed(result.get("model")),
        twin=_timed(result.get("twin")),
    )


def _timed(row: object) -> Timed | None:
    try:
        return Timed.model_validate(row)
    except ValidationError:
        return None
