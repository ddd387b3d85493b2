"""Answers about ids of which a part is known."""

from __future__ import annotations

from typing import Literal

from api.schemas import Answer, Time


class Found(Answer):
    """An object whose id ends or begins with what was asked for."""

    id: str
    type: Literal["job", "model", "sweep", "dataset"]
    name: str | None
    """A job's or a model's title, or the name of a dataset; null where it has none."""
    created_at: Time
