"""What came of a model: its evaluations, and the jobs that began with it.

A spec names its model inside of JSON, which no index serves: of each question only the newest jobs are looked at, so
that it costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, or_, select

from jobs.access.scope import OwnTransaction
from jobs.states import Status
from jobs.tables import Job

NEWEST = 1_000
"""Jobs that are looked at: the newest ones of the project."""


def evaluation_of(session: OwnTransaction, model_id: str) -> Job | None:
    """The newest evaluation of a model that has succeeded, among the newest evaluations; None where there is none."""
    recent = select(Job.id).where(Job.kind == "evaluate").order_by(Job.id.desc()).limit(NEWEST)
    named = Job.spec["model_id"].as_string() == model_id
    return session.scalars(_among(recent).where(Job.status == Status.SUCCEEDED, named).limit(1)).one_or_none()


def made_from(session: OwnTransaction, model_id: str, limit: int) -> Sequence[Job]:
    """The newest jobs that are about a model, train on from it or learn from it: at most `limit`, newest first."""
    recent = select(Job.id).order_by(Job.id.desc()).limit(NEWEST)
    fields: tuple[Any, ...] = (("model_id",), ("init_from",), ("distill", "teacher"))
    named = or_(*(Job.spec[field].as_string() == model_id for field in fields))
    return session.scalars(_among(recent).where(named).limit(limit)).all()


def _among(recent: Select[str]) -> Select[Job]:
    chosen = recent.subquery()
    return select(Job).join(chosen, chosen.c.id == Job.id).order_by(Job.id.desc())
