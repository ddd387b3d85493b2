"""Models, and which stored blobs are still in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Text, cast, exists, func, or_, select, update

from addercore.arch import check_manifest, count
from jobs.access.scope import OwnTransaction, ServiceTransaction
from jobs.clock import now_ms
from jobs.errors import Conflict, NotFound
from jobs.ids import new_id
from jobs.repository import datasets
from jobs.repository.attempts import Stored
from jobs.repository.indexing import index_new_model
from jobs.states import FINAL, Status
from jobs.tables import Artifact, Checkpoint, Dataset, Job, Model
from jobs.webhooks import events

MAX_IN = 500  # values of one IN


def get_model(session: OwnTransaction, model_id: str) -> Model:
    model = session.get(Model, model_id)
    if model is None:
        raise NotFound("model", model_id)
    return model


def new_model(
    manifest: dict[str, Any],
    stored: Stored,
    *,
    source: str,
    job_id: str | None,
    metrics: dict[str, Any] | None,
    format: str = "safetensors",
    derived_from: str | None = None,
) -> Model:
    """Makes a model's row of its manifest. Raises BadModel if the manifest describes no network."""
    net = check_manifest(manifest)
    part = manifest["network"]
    return Model(
        id=new_id("model"),
        job_id=job_id,
        source=source,
        arch=part["arch"],
        method=part["method"],
        dataset=manifest["dataset"],
        parameters=count(net, part["method"], part["first_last"]).parameters,
        manifest=manifest,
        metrics=metrics,
        sha256=stored.sha256,
        bytes=stored.bytes,
        format=format,
        derived_from=derived_from,
        created_at=now_ms(),
    )


def same_model(session: OwnTransaction, sha256: str) -> Model | None:
    """The oldest model with these bytes. Serialises imports of the same bytes until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{session.scope.id} {sha256}", 0))))
    return session.execute(select(Model).where(Model.sha256 == sha256).order_by(Model.id).limit(1)).scalar_one_or_none()


def hold(session: OwnTransaction, ids: Iterable[str]) -> None:
    """Keeps models from being deleted until this transaction, which submits a job or sweep that needs them, has ended.

    Raises:
        Conflict: one of them is gone.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return
    rows = select(Model.id).where(Model.id.in_(wanted)).order_by(Model.id)
    held = set(session.execute(rows.with_for_update(read=True, key_share=True)).scalars())
    if gone := [model_id for model_id in wanted if model_id not in held]:
        raise Conflict(f"The model {gone[0]} is not there (any more).")


def delete_model(session: OwnTransaction, model_id: str) -> str:
    """Removes a model that no unfinished job needs. Returns its sha256, for `ArtifactStore.discard`.

    Raises:
        Conflict: an unfinished job trains on from it, learns from it or evaluates it, or jobs of a sweep will.
    """
    # Jobs before models, as whoever deletes a job that trained a model locks them.
    session.execute(select(Job.id).where(Job.model_id == model_id).order_by(Job.id).with_for_update())
    model = session.get(Model, model_id, with_for_update=True, populate_existing=True)
    if model is None:  # or somebody else has just deleted it
        raise NotFound("model", model_id)
    for job in session.execute(select(Job).where(Job.status.not_in(FINAL)).order_by(Job.id)).scalars():
        if model_id in models_of(job.spec):
            raise Conflict(f"{job.id} is {job.status} and needs the model. Cancel it or wait until it has ended.")
    datasets.require_no_sweep(session, model_id, "model")
    session.execute(update(Job).where(Job.model_id == model_id).values(model_id=None))
    session.delete(model)
    session.flush()
    return model.sha256


def newest_benchmark(session: OwnTransaction, model_id: str) -> Job | None:
    """The newest benchmark of a model that succeeded.

    An index leads to the benchmarks of the project; which of them is of this model is told by the text of its spec, as
    a stored spec need not be JSON that the database can read. A label may name the model as well, so the spec decides.
    """
    text = cast(Job.spec, Text)
    own = (Job.kind == "benchmark", Job.status == Status.SUCCEEDED, text.contains(model_id, autoescape=True))
    rows = session.execute(select(Job).where(*own).order_by(Job.id.desc()).limit(MAX_IN)).scalars()
    return next((job for job in rows if isinstance(job.spec, dict) and job.spec.get("model_id") == model_id), None)


def newest_benchmarks(session: OwnTransaction, most: int = 1000) -> dict[str, Job]:
    """The newest benchmark that succeeded by the id of its model, among the project's last `most`."""
    own = (Job.kind == "benchmark", Job.status == Status.SUCCEEDED)
    rows = session.execute(select(Job).where(*own).order_by(Job.id.desc()).limit(most)).scalars()
    found: dict[str, Job] = {}
    for job in rows:
        model_id = job.spec.get("model_id") if isinstance(job.spec, dict) else None
        if isinstance(model_id, str) and isinstance(job.result, dict):
            found.setdefault(model_id, job)
    return found


def models_of(spec: object) -> set[str]:
    """Ids of the models that a job needs while it runs. A spec that cannot be read names none."""
    if not isinstance(spec, dict):
        return set()
    named = (spec.get("init_from"), spec.get("model_id"), teacher_of(spec))
    return {model_id for model_id in named if model_id}


def teacher_of(spec: Mapping[str, Any]) -> str | None:
    """Id of the model that a training learns from; older specs do not know of any."""
    return (spec.get("distill") or {}).get("teacher")


def add_model(session: OwnTransaction, model: Model) -> None:
    session.add(model)
    session.flush()
    index_new_model(session, model)
    events.model_published(session, model)


def unreferenced(session: ServiceTransaction, digests: Iterable[str]) -> set[str]:
    """Those of `digests` that no artifact, checkpoint, model or dataset names."""
    unused: set[str] = set()
    ordered = sorted(set(digests))
    for at in range(0, len(ordered), MAX_IN):
        left = set(ordered[at : at + MAX_IN])
        for column in (Artifact.sha256, Checkpoint.sha256, Model.sha256):
            if left:
                left -= set(session.execute(select(column).where(column.in_(left))).scalars())
        unused |= left - datasets.stored_by(session, left) if left else left
    return unused


def names_any(session: ServiceTransaction) -> bool:
    """Whether any row names a stored file."""
    named = (exists().select_from(table) for table in (Artifact, Checkpoint, Model, Dataset))
    return bool(session.execute(select(or_(*named))).scalar_one())
