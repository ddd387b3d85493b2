"""Comparing jobs: the fields in which their specs differ, their results, and the metrics that they share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from addercore.errors import AdderError
from api.http.dependencies import known_id
from api.jobs.submission import counts_of
from api.web.formats import is_number
from jobs import system_metrics
from jobs.access.scope import OwnTransaction
from jobs.documents import require_readable
from jobs.errors import NotFound
from jobs.repository import attempts, lifecycle
from jobs.repository.models import get_model
from jobs.spec import SPEC, BenchmarkSpec, EvaluateSpec, QuantizeSpec, TrainSpec
from jobs.sweeps.summary import SEED
from jobs.tables import Job, Metric

FEWEST, MOST = 2, 20
APART = ("labels",)
"""Fields of a spec that do not change what is computed. They are not compared."""
Pointer = str


@dataclass(frozen=True)
class JobSummary:
    """One of the compared jobs."""

    job: Job
    labels: Mapping[str, str]
    seconds: float | None
    """How long it ran in all its attempts."""
    counts: Mapping[str, Any] | None
    """What its network costs for one image. None for a spec of another version or without one network."""
    names: frozenset[str]
    """Names of its metrics."""


@dataclass(frozen=True)
class JobComparison:
    """The compared jobs, and what they differ in."""

    sides: Sequence[JobSummary]

    @property
    def differences(self) -> dict[Pointer, list[Any]]:
        """The fields in which the specs differ, with the value of each job."""
        return {where: values for where, values in self.fields.items() if len({_key(v) for v in values}) > 1}

    @property
    def fields(self) -> dict[Pointer, list[Any]]:
        """Every field of the specs, with the value of each job; None where a spec has no such field."""
        flat = [_flat({k: v for k, v in side.job.spec.items() if k not in APART}) for side in self.sides]
        names = dict.fromkeys(name for one in flat for name in one)
        return {name: [one.get(name) for one in flat] for name in names}

    @property
    def groups(self) -> list[int | None]:
        """For each job the index of the first job that differs from it in nothing but the seed; None without others."""
        specs = [{k: v for k, v in side.job.spec.items() if k not in (*APART, SEED)} for side in self.sides]
        first = [specs.index(spec) for spec in specs]
        return [at if first.count(at) > 1 else None for at in first]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that all jobs have."""
        return sorted(frozenset.intersection(*(side.names for side in self.sides)))

    @property
    def results(self) -> dict[str, list[Any]]:
        """Final metrics by name; None where a job has none."""
        found = [numbers(side.job.result) for side in self.sides]
        names = dict.fromkeys(name for one in found for name in one)
        return {name: [one.get(name) for one in found] for name in names}


def compare(session: OwnTransaction, ids: Sequence[str]) -> JobComparison:
    """The jobs with these ids, in this order. Raises NotFound naming the first that is not there."""
    jobs = [lifecycle.get(session, known_id("job", id)) for id in ids]
    for job in jobs:
        require_readable(job)
    labels = lifecycle.labels_of(session, ids)
    seconds = attempts.run_seconds(session, ids)
    sides = [
        JobSummary(job, labels[job.id], seconds.get(job.id), _counts(session, job), _names(session, job))
        for job in jobs
    ]
    return JobComparison(sides)


def numbers(result: Mapping[str, Any] | None) -> dict[str, float]:
    """The values of a result that are numbers."""
    return {name: value for name, value in (result or {}).items() if is_number(value)}


def _names(session: OwnTransaction, job: Job) -> frozenset[str]:
    """Of what it measured step by step; samples of the system are counted in seconds."""
    found = session.execute(select(Metric.name).where(Metric.job_id == job.id).distinct()).scalars()
    return frozenset(found) - frozenset(system_metrics.NAMES)


def _counts(session: OwnTransaction, job: Job) -> dict[str, Any] | None:
    """What the job's network costs. None for a spec of another version, and for kinds without one network."""
    try:
        spec = SPEC.validate_python(job.spec)
        if isinstance(spec, TrainSpec):
            return counts_of(spec, None).totals()
        if isinstance(spec, EvaluateSpec | QuantizeSpec | BenchmarkSpec):
            return counts_of(spec, get_model(session, spec.model_id)).totals()
    except (ValidationError, NotFound, AdderError, ValueError):
        return None
    return None


def _flat(value: Any, at: str = "") -> dict[Pointer, Any]:
    """The leaves of a document by JSON pointer. A list counts as a leaf."""
    if not isinstance(value, dict) or not value:
        return {at: value}
    found: dict[Pointer, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}")
    return found


def _key(value: Any) -> str:
    """A text that is equal for values that mean the same: 1 and 1.0, but not 1 and true."""
    same = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return json.dumps(same, sort_keys=True)
