"""Models, and which stored bytes are still referred to."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.errors import NotFound
from jobs.repository.paging import Page, page
from jobs.tables import Artifact, Checkpoint, Model


def get_model(session: Session, model_id: str) -> Model:
    model = session.get(Model, model_id)
    if model is None:
        raise NotFound("model", model_id)
    return model


def add_model(session: Session, model: Model) -> None:
    session.add(model)
    session.flush()


def list_models(session: Session, *, limit: int, after: str | None) -> Page:
    return page(session, select(Model), Model.id, {"list": "models"}, limit, after)


def unreferenced(session: Session, digests: Iterable[str]) -> set[str]:
    """Those of `digests` that no artifact, checkpoint or model names."""
    left = set(digests)
    for column in (Artifact.sha256, Checkpoint.sha256, Model.sha256):
        if left:
            left -= set(session.execute(select(column).where(column.in_(left))).scalars())
    return left
