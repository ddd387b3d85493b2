"""Reading and checking a submitted sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.datasets.availability import require_dataset
from api.http.problems import Problem, bad_fields, invalid
from api.jobs.submission import require_model
from api.service import Service
from jobs.spec import TrainSpec
from jobs.sweeps import objective, planning, references
from jobs.sweeps.planning import InvalidSweep, Parameters
from jobs.sweeps.spec import SweepSpec


def parse_sweep(document: object, session: Session) -> SweepSpec:
    """Reads a sweep and resolves its datasets. Raises Problem (422) with a pointer to each bad field."""
    try:
        spec = SweepSpec.model_validate(document)
        if (trouble := objective.trouble_with(spec.objective)) is not None:
            raise invalid([("/objective", trouble)])
        return references.resolved(session, spec)
    except ValidationError as error:
        raise invalid(bad_fields(error, SweepSpec)) from None
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def plan_children(service: Service, session: Session, spec: SweepSpec) -> list[tuple[Parameters, TrainSpec]]:
    """The jobs of a sweep. Raises Problem (422) with a pointer to each value that makes an invalid job."""
    try:
        return planning.plan(spec, service.settings.max_sweep_jobs)
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def require_references(
    service: Service, session: Session, spec: SweepSpec, children: Sequence[tuple[Parameters, TrainSpec]]
) -> None:
    """Checks that the datasets and models of all children are here. Raises Problem (422) with each that is not."""
    seen: set[tuple[Any, ...]] = set()
    found: dict[tuple[str, str], None] = {}
    for parameters, one in children:
        teacher = None if one.distill is None else one.distill.teacher
        wanted = (one.dataset.name, one.init_from, teacher, one.model.arch)
        if wanted in seen:
            continue
        seen.add(wanted)
        try:
            require_dataset(service.settings, one.dataset.name)
            require_model(session, one)
        except Problem as problem:
            for where, why in problem.errors:
                found[planning.blame(spec, parameters, where, why)] = None
    if found:
        raise invalid(list(found))
