"""Reading and checking a submitted sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from api.access.acting import Acting
from api.http.problems import Problem, bad_fields, invalid
from api.jobs.submission import require_data, require_model
from jobs.access.scope import OwnTransaction
from jobs.repository import models
from jobs.spec import BenchmarkSpec, SubmittedSpec, TrainSpec
from jobs.sweeps import planning, references
from jobs.sweeps.planning import InvalidSweep, Parameters
from jobs.sweeps.spec import SweepSpec


def parse_sweep(document: object, session: OwnTransaction) -> SweepSpec:
    """Reads a sweep and resolves its datasets. Raises Problem (422) with a pointer to each bad field."""
    try:
        return references.resolved(session, SweepSpec.model_validate(document))
    except ValidationError as error:
        raise invalid(bad_fields(error, SweepSpec)) from None
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def plan_children(service: Acting, session: OwnTransaction, spec: SweepSpec) -> list[tuple[Parameters, SubmittedSpec]]:
    """The jobs of a sweep. Raises Problem (422) with a pointer to each value that makes an invalid job."""
    try:
        return planning.plan(spec, service.settings.max_sweep_jobs)
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def require_references(
    service: Acting, session: OwnTransaction, spec: SweepSpec, children: Sequence[tuple[Parameters, SubmittedSpec]]
) -> None:
    """Checks that the datasets and models of all children are here. Raises Problem (422) with each that is not."""
    seen: set[tuple[Any, ...]] = set()
    found: dict[tuple[str, str], None] = {}
    for parameters, one in children:
        arch = one.model.arch if isinstance(one, TrainSpec) else None
        dataset = None if isinstance(one, BenchmarkSpec) else one.dataset.name
        engines = one.engines if isinstance(one, BenchmarkSpec) else None
        wanted = (dataset, engines, tuple(sorted(models.models_of(one.model_dump()))), arch)
        if wanted in seen:
            continue
        seen.add(wanted)
        try:
            require_data(service.settings, one)
            require_model(session, one)
        except Problem as problem:
            for where, why in problem.errors:
                found[planning.blame(spec, parameters, where, why)] = None
    if found:
        raise invalid(list(found))
