"""What a benchmark measured of the model that a job published or is about, as a column of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.web.formats import is_number
from jobs.access.scope import OwnTransaction
from jobs.repository.models import newest_benchmarks
from jobs.tables import Job

LATENCY: Final = "measured.latency_ms"
"""Milliseconds for one image, the median of the fastest way to run the model: of the newest benchmark of it that
succeeded."""


def latencies(session: OwnTransaction, jobs: Sequence[Job]) -> dict[str, float]:
    """The latency by the id of a job, of those whose model was measured."""
    measured = {model_id: _latency(job.result) for model_id, job in newest_benchmarks(session).items()}
    found = {job.id: measured.get(job.model_id or job.spec.get("model_id") or "") for job in jobs}
    return {id_: value for id_, value in found.items() if value is not None}


def _latency(result: Mapping[str, Any] | None) -> float | None:
    row = (result or {}).get("model")
    if not isinstance(row, Mapping):
        return None
    middle, batch = row.get("p50_ms"), row.get("batch", 1)
    return float(middle) / batch if is_number(middle) and is_number(batch) and batch > 0 else None
