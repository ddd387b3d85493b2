"""Sweeps for tests: made and moved by way of the repository, their jobs ended by hand."""

from __future__ import annotations

from typing import Any

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import attempts
from jobs.repository.attempts import Claim
from jobs.scheduling import Rules
from jobs.states import Status
from jobs.sweeps import planning, repository
from jobs.sweeps.driver import Driver
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Sweep, Trial
from tests.api.attempt import TIME, Worker
from tests.support.specs import train_body

ETAS = [1, 0.5, 0.1]
LR = {"type": "float", "low": 0.001, "high": 1, "log": True}


def sweep_spec(**changes: Any) -> SweepSpec:
    """By default a grid of two values."""
    varied = {} if "search" in changes else {"grid": {"optimizer.eta": ETAS[:2]}}
    return SweepSpec.model_validate({"base": train_body(), **varied, **changes})


def create(database: Database, **changes: Any) -> Sweep:
    spec = sweep_spec(**changes)
    found = [parameters for parameters, _ in planning.plan(spec, 500)] if spec.grid else []
    with database.write(DEFAULT) as session:
        return repository.create(session, spec, found, body=changes)


def drive(database: Database, sweep: Sweep, rules: Rules = Rules()) -> Sweep:
    """As far as it goes now."""
    Driver(database, rules).advance(sweep)
    with database.read(DEFAULT) as session:
        return repository.get(session, sweep.id)


def trials(database: Database, sweep: Sweep) -> list[Trial]:
    with database.read(DEFAULT) as session:
        return [trial for trial, _ in repository.trials_of(session, sweep.id)]


def states(database: Database, sweep: Sweep) -> list[str]:
    return [trial.status for trial in trials(database, sweep)]


def finish(worker: Worker, claim: Claim, value: float | None, to: Status = Status.SUCCEEDED) -> None:
    with worker.writing(claim) as (session, job):
        error = None
        if to is Status.SUCCEEDED:
            job.result = {"val/accuracy": value} if value is not None else {"train/loss": 0.1}
        elif to is Status.FAILED:
            error = {"code": "diverged", "message": "Not a number.", "log_tail": ""}
        attempts.finish(session, job, to, "It ended.", error)


def epochs(worker: Worker, claim: Claim, first: int, values: list[float]) -> None:
    rows = [
        {"name": "val/accuracy", "step": 10 * epoch, "epoch": epoch, "value": value, "time": TIME}
        for epoch, value in enumerate(values, start=first)
    ]
    with worker.writing(claim) as (session, job):
        attempts.add_metrics(session, job, rows)
