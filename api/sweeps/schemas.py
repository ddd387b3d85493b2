"""Answers about sweeps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from api.schemas import Answer, SpecDocument, Time
from jobs.states import Status, SweepStatus, TrialStatus
from jobs.sweeps import repository
from jobs.tables import Sweep as SweepRow
from jobs.tables import Trial as TrialRow

SWEEP_ID = "sweep_01jv3m8z4k6wq0x9t2rhf5ybcd"


class SweepProgress(Answer):
    """Number of trials by state."""

    model_config = ConfigDict(from_attributes=True)

    done: int
    running: int
    waiting: int
    """Trials that are not submitted yet, or whose job is queued or paused."""
    failed: int
    cancelled: int
    """Cancelled one by one, or with the whole sweep."""
    pruned: int
    """Trials that the search stopped early."""
    total: int
    """Trials that the sweep makes in all."""


class BestTrial(Answer):
    """The finished trial with the best value. Of several equals it is the first."""

    model_config = ConfigDict(from_attributes=True)

    trial: int
    job_id: str | None
    """Null once that job is deleted."""
    parameters: dict[str, Any]
    """What it changes in the base spec, by dotted names."""
    value: float
    """The objective."""


class Sweep(Answer):
    """A set of ordinary jobs that vary one spec. The sweep itself needs no worker."""

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
                "progress": {
                    "done": 4,
                    "running": 1,
                    "waiting": 4,
                    "failed": 0,
                    "cancelled": 0,
                    "pruned": 0,
                    "total": 9,
                },
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
    """The spec as it was sent, with the defaults of the sweep's own fields."""
    labels: dict[str, str]
    message: str | None
    """Why the sweep ended, where that is not obvious."""
    created_at: Time
    finished_at: Time | None
    progress: SweepProgress
    best: BestTrial | None

    @classmethod
    def of(cls, row: SweepRow, progress: repository.Progress, best: repository.Best | None) -> Sweep:
        """The answer for a row."""
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
    """One job of a sweep, or one that it will submit."""

    number: int
    status: TrialStatus
    """`waiting`: its job is not submitted yet, or queued, or paused."""
    parameters: dict[str, Any]
    """What it changes in the base spec, by dotted names."""
    job_id: str | None
    """Null before the job is submitted, and once it is deleted."""
    job_status: Status | None
    value: float | None
    """The objective at the end, or at the point where the trial was pruned."""
    seconds: float | None
    """How long the job ran in all its attempts, once it has ended."""
    message: str | None

    @classmethod
    def of(cls, row: TrialRow, job_status: str | None) -> Trial:
        """The answer for a row. `job_status` is None for a trial without a job."""
        own = {name: getattr(row, name) for name in cls.model_fields if name != "job_status"}
        return cls.model_validate(own | {"status": repository.shown_status(row, job_status), "job_status": job_status})


class Child(Answer):
    """A job that a sweep would make."""

    parameters: dict[str, Any]
    spec: SpecDocument


class SweepValidation(Answer):
    """A sweep that would be accepted; nothing was created."""

    jobs: int
    """Number of jobs that the sweep would make."""
    spec: dict[str, Any]
    """The sweep with its defaults."""
    children: list[Child]
    """All jobs of a grid. The trials of a search are not known yet; it has one here, at the low ends of its ranges."""


class SweepRowAnswer(Answer):
    """A row of a sweep's table: one combination, over all seeds where the grid has several."""

    parameters: dict[str, Any]
    trials: list[int]
    """Numbers of its trials."""
    states: list[TrialStatus]
    n: int
    """Number of trials that have a value."""
    mean: float | None
    """Mean of the objective."""
    std: float | None
    """Standard deviation of the sample (n − 1); null for fewer than two values."""


class SweepTable(Answer):
    """The results of a sweep, by combination."""

    objective: str
    direction: Literal["maximize", "minimize"]
    over_seeds: bool
    """Whether a row combines all seeds of a combination."""
    fields: list[str]
    """Dotted names of the fields that vary."""
    best: int | None
    """Index of the row with the best mean."""
    rows: list[SweepRowAnswer]
