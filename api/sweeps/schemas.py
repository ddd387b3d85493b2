"""What the API answers of sweeps, and how it reads a request for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError
from sqlalchemy.orm import Session

from api.datasets.availability import require_dataset
from api.http.problems import Problem, bad_fields, invalid
from api.jobs import submission as checks
from api.schemas import Answer, SpecDocument, Time
from api.service import Service
from jobs.spec import TrainSpec
from jobs.states import Status, SweepStatus, TrialStatus
from jobs.sweeps import planning, references, repository
from jobs.sweeps.planning import InvalidSweep, Parameters
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Sweep as SweepRow
from jobs.tables import Trial as TrialRow

SWEEP_ID = "sweep_01jv3m8z4k6wq0x9t2rhf5ybcd"


class SweepProgress(Answer):
    """How many trials are where."""

    model_config = ConfigDict(from_attributes=True)

    done: int
    running: int
    waiting: int
    """Not submitted yet, or queued, or paused."""
    failed: int
    """Failed, or cancelled one by one."""
    pruned: int
    total: int
    """In the end."""


class BestTrial(Answer):
    """The finished trial with the best value; of equals the first."""

    model_config = ConfigDict(from_attributes=True)

    trial: int
    job_id: str | None
    """Null once that job is deleted."""
    parameters: dict[str, Any]
    value: float


class Sweep(Answer):
    """Ordinary jobs that vary a base spec. It holds no slot."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "id": SWEEP_ID,
                "name": "eta",
                "status": "running",
                "spec": {
                    "base": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
                    "grid": {"optimizer.eta": [1, 0.5, 0.1], "seed": [0, 1, 2]},
                    "objective": "val/accuracy",
                    "direction": "maximize",
                },
                "labels": {},
                "message": None,
                "created_at": "2025-11-21T03:00:00.123Z",
                "finished_at": None,
                "progress": {"done": 4, "running": 1, "waiting": 4, "failed": 0, "pruned": 0, "total": 9},
                "best": {
                    "trial": 1,
                    "job_id": "job_01jv3m8z4k6wq0x9t2rhf5ybcd",
                    "parameters": {"optimizer.eta": 1, "seed": 1},
                    "value": 0.986,
                },
            }
        },
    )

    id: str
    name: str | None
    status: SweepStatus
    spec: dict[str, Any]
    """As it was asked for, with every default of the sweep's own filled in."""
    labels: dict[str, str]
    message: str | None
    """Why it ended as it did, where that needs saying."""
    created_at: Time
    finished_at: Time | None
    progress: SweepProgress
    best: BestTrial | None

    @classmethod
    def of(cls, row: SweepRow, progress: repository.Progress, best: repository.Best | None) -> Sweep:
        return cls(
            id=row.id,
            name=row.spec.get("name"),
            status=SweepStatus(row.status),
            spec=row.spec,
            labels=row.spec.get("labels") or {},
            message=row.message,
            created_at=row.created_at,
            finished_at=row.finished_at,
            progress=SweepProgress.model_validate(progress),
            best=None if best is None else BestTrial.model_validate(best),
        )


class Trial(Answer):
    """One child of a sweep."""

    number: int
    status: TrialStatus
    parameters: dict[str, Any]
    """What it changes in the base spec, by dotted names."""
    job_id: str | None
    """Null until it is submitted, and once its job is deleted."""
    job_status: Status | None
    value: float | None
    """The objective: the final one, or where a trial was pruned."""
    seconds: float | None
    """For how long its job ran, once that has ended."""
    message: str | None

    @classmethod
    def of(cls, row: TrialRow, job_status: str | None) -> Trial:
        own = {name: getattr(row, name) for name in cls.model_fields if name != "job_status"}
        return cls.model_validate({**own, "job_status": job_status})


class Child(Answer):
    """A job that a sweep would make."""

    parameters: dict[str, Any]
    spec: SpecDocument


class SweepValidation(Answer):
    """A sweep that would be accepted; nothing was created."""

    jobs: int
    """How many it would make."""
    spec: dict[str, Any]
    children: list[Child]
    """Of a grid every one; of a search, whose trials are not known before, one at the low ends of its ranges."""


class SweepRowAnswer(Answer):
    """A line of a sweep's table: a combination, over its seeds where the grid has several."""

    parameters: dict[str, Any]
    trials: list[int]
    states: list[TrialStatus]
    n: int
    """Trials that have a value."""
    mean: float | None
    std: float | None
    """Of the sample (n − 1); null for fewer than two."""


class SweepTable(Answer):
    objective: str
    direction: Literal["maximize", "minimize"]
    over_seeds: bool
    """Whether a row stands for all seeds of a combination."""
    fields: list[str]
    best: int | None
    """Index of the row with the best mean."""
    rows: list[SweepRowAnswer]


def views(session: Session, rows: Sequence[SweepRow]) -> list[Sweep]:
    progress = repository.progress_of(session, rows)
    return [Sweep.of(row, progress[row.id], repository.best_of(session, row)) for row in rows]


def parse(document: object, session: Session) -> SweepSpec:
    """The sweep with its own defaults filled in and its datasets known. Raises Problem with each bad field."""
    try:
        return references.resolved(session, SweepSpec.model_validate(document))
    except ValidationError as error:
        raise invalid(bad_fields(error, SweepSpec)) from None
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def plan(service: Service, session: Session, spec: SweepSpec) -> list[tuple[Parameters, TrainSpec]]:
    """The children, each of them valid. Raises Problem with a pointer to each value that makes one that is not."""
    try:
        return planning.plan(spec, service.settings.max_sweep_jobs)
    except InvalidSweep as error:
        raise invalid(error.errors) from None


def require_references(
    service: Service, session: Session, spec: SweepSpec, children: Sequence[tuple[Parameters, TrainSpec]]
) -> None:
    """Raises Problem where the files of a dataset or a model that a child begins with or learns from are not here."""
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
            checks.require_model(session, one)
        except Problem as problem:
            for where, why in problem.errors:
                found[planning.blame(spec, parameters, where, why)] = None
    if found:
        raise invalid(list(found))
