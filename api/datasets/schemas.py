"""Answers about datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from addercore.config import DatasetInfo
from api.schemas import Answer, Time
from jobs.states import DatasetStatus
from jobs.tables import Dataset as DatasetRow


class Dataset(Answer):
    """A published dataset, or one version of a user's dataset."""

    id: str
    name: str
    version: int | None
    """Version of a user's dataset, from 1; null for published ones."""
    status: Literal["ready", "missing", "validating", "failed"]
    """`missing` means that the dataset is published and its files are not on this server."""
    problems: list[str]
    """Sentences that say why a user's dataset failed."""
    notes: list[str]
    """Sentences that say what was left out of a user's dataset, converted or guessed."""
    preview: str | None
    """Path of a contact sheet: images of each class as the network sees them; null unless a user's dataset is ready."""
    job_id: str | None
    """The job that validates the upload."""
    same_as: str | None
    """An earlier version of the name with the same images and classes. Jobs use that one."""
    description: str
    source: str
    input_shape: list[int] | None
    """(channels, height, width) as the network sees it. This and the next three are null until the dataset is ready."""
    classes: list[str] | None
    train_size: int | None
    validation_size: int | None
    available: bool
    """Whether a job can use it now."""
    how_to_get: str
    """Where the files come from and where they go, or what to do about a user's dataset that is not ready."""
    bytes: int | None
    """Size of a user's upload, and of its images once they are validated."""
    created_at: Time | None

    @classmethod
    def published(cls, info: DatasetInfo, *, available: bool, how_to_get: str) -> Dataset:
        """The answer for a dataset that the service knows by name."""
        own: dict[str, Any] = {
            "version": None,
            "job_id": None,
            "same_as": None,
            "bytes": None,
            "created_at": None,
            "problems": [],
            "notes": [],
            "preview": None,
        }
        state = {"status": "ready" if available else "missing", "available": available, "how_to_get": how_to_get}
        return cls.model_validate({"id": f"ds_{info.name}", **_known(info.to_dict()), **own, **state})

    @classmethod
    def of(cls, row: DatasetRow) -> Dataset:
        """The answer for a user's dataset."""
        ready = row.status == DatasetStatus.READY
        waiting = "Wait until its job has validated it." if row.status == DatasetStatus.VALIDATING else ""
        return cls.model_validate(
            _known(row.info or {})
            | {name: getattr(row, name) for name in ROW_FIELDS}
            | {
                "problems": [] if ready else row.problems or [],
                "notes": (row.problems or []) if ready else [],
                "preview": f"/v1/datasets/{row.id}/preview" if ready and row.job_id else None,
                "available": ready,
                "how_to_get": waiting
                if row.status != DatasetStatus.FAILED
                else "Correct the upload and send it again.",
            }
        )


ROW_FIELDS = ("id", "name", "version", "status", "job_id", "same_as", "bytes", "created_at")
"""Fields of a user's dataset that the table has under the same names."""


def _known(info: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `DatasetInfo` document; null or a default where it is empty."""
    empty = {"description": "", "source": "an upload"}
    fields = ("name", "input_shape", "classes", "train_size", "validation_size")
    return {name: info.get(name) for name in fields} | {name: info.get(name, text) for name, text in empty.items()}
