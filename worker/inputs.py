"""The inputs of a job: what its spec names, by the digests under which the store has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.access.scope import OwnTransaction
from jobs.errors import SpecUnreadable
from jobs.ids import ID_PATTERN
from jobs.repository import attempts, datasets, models
from jobs.repository.attempts import Claim


@dataclass(frozen=True)
class Inputs:
    """Digests of stored files; None for what the spec does not name."""

    checkpoints: list[tuple[int, str]]
    """`(step, sha256)`, newest first."""
    continue_from: str | None
    """The checkpoint of the finished training that this one goes on from."""
    model: str | None
    teacher: str | None
    dataset: str | None
    """Id of a user's dataset."""
    info: dict[str, Any] | None
    """Its `DatasetInfo`."""
    images: str | None
    """Its file."""
    upload: str | None
    """What an ingest reads."""


def _require_shape(spec: object) -> None:
    """Raises SpecUnreadable where a stored spec lacks what the worker itself reads. The child judges the rest."""
    if not isinstance(spec, dict):
        raise SpecUnreadable("", "is not an object")
    for field, needed in (("resources", True), ("limits", True), ("dataset", False)):
        if not isinstance(spec.get(field), dict) and (needed or spec.get(field) is not None):
            raise SpecUnreadable(f"/{field}", "is not an object")


def inputs_of(session: OwnTransaction, claim: Claim) -> Inputs:
    """What the spec of a claimed job names, and its checkpoints.

    Raises:
        SpecUnreadable: another version stored the spec.
        NotFound: something that it names has been deleted.
    """
    _require_shape(claim.spec)
    own, start = attempts.resume_points(session, claim.job_id)
    spec = claim.spec
    model_id = spec.get("model_id") or spec.get("init_from")
    teacher_id = models.teacher_of(spec)
    name = (spec.get("dataset") or {}).get("name")
    row = datasets.get(session, name) if name and ID_PATTERN.match(name) else None
    upload = datasets.get(session, spec["dataset_id"]) if claim.kind == "ingest" else None
    return Inputs(
        checkpoints=[(step, stored.sha256) for step, stored in own],
        continue_from=None if start is None else start.sha256,
        model=models.get_model(session, model_id).sha256 if model_id else None,
        teacher=models.get_model(session, teacher_id).sha256 if teacher_id else None,
        dataset=None if row is None else row.id,
        info=None if row is None else row.info,
        images=None if row is None else row.sha256,
        upload=None if upload is None else upload.source_sha256,
    )
