"""A user's dataset in the database and the store, without a worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from addercore import config
from addercore.config.uploads import PREVIEW_NAME
from jobs.access.scope import DEFAULT
from jobs.ids import new_id
from jobs.repository import attempts, datasets, lifecycle
from jobs.repository.attempts import Claim, NewArtifact, Stored
from jobs.spec import IngestSpec
from jobs.store import ArtifactStore
from jobs.tables import Dataset
from tests.api.attempt import LEASE_MS, Worker

OPTIONS: dict[str, Any] = config.IntakeOptions().model_dump(mode="json")


def add_upload(session: Session, store: ArtifactStore, name: str, data: bytes) -> Dataset:
    """A version that is being validated."""
    stored = store.put_stream([data])
    id_ = new_id("ds")
    job = lifecycle.submit(session, IngestSpec(kind="ingest", dataset_id=id_)).job
    return datasets.add(session, id_, name, "npz", stored, OPTIONS, job.id)


def upload(worker: Worker, name: str, data: bytes = b"upload") -> str:
    with worker.database.write(DEFAULT) as session:
        return add_upload(session, worker.store, name, data).id


def info_of(id_: str) -> config.DatasetInfo:
    """As if the upload had been the digits."""
    return replace(config.DATASETS["digits"], name=id_, description="mine", files=())


def make_ready(worker: Worker, id_: str, content: bytes = b"images", sheet: bytes | None = None) -> Claim:
    """What a worker does that has claimed the dataset's job, which must be the next one."""
    claim = worker.claim()
    assert claim.spec["dataset_id"] == id_
    stored: Stored = worker.store.put_stream([content])
    with worker.database.write(DEFAULT) as session:
        job = attempts.lock(session, claim, LEASE_MS)
        if sheet is not None:
            picture = worker.store.put_stream([sheet])
            attempts.add_artifacts(session, job, [NewArtifact(PREVIEW_NAME, "preview", "image/png", picture)])
        datasets.ready(session, id_, stored, info_of(id_).to_dict(), ["A note."], "npz")
    worker.finish(claim)
    return claim


def ready(worker: Worker, name: str, content: bytes = b"images", source: bytes = b"upload") -> str:
    id_ = upload(worker, name, source)
    make_ready(worker, id_, content)
    return id_
