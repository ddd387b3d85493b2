"""Users' datasets: versions of a name, names in specs, and how an upload becomes ready."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from addercore import config
from addercore.config import IntakeOptions
from addercore.config.schema import nearest_value
from addercore.config.uploads import ID_PREFIX, NAME
from jobs.access.scope import OwnTransaction, ServiceTransaction
from jobs.clock import now_ms
from jobs.errors import Conflict, DatasetUnusable, NotFound
from jobs.ids import ID_PATTERN
from jobs.repository.attempts import Stored
from jobs.repository.paging import Page, page
from jobs.states import FINAL, SWEEP_FINAL, DatasetStatus
from jobs.tables import Dataset, Job, Sweep
from jobs.webhooks import events

REFERENCE = re.compile(rf"{NAME.pattern}(@[0-9]{{1,9}})?")
"""A name, or `name@version`."""
MAX_LISTED = 20
"""Names that a sentence lists."""


def lock_name(session: OwnTransaction, name: str) -> None:
    """Locks the versions of a name until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"dataset {session.scope.id} {name}", 0)))
        )


def same_upload(session: OwnTransaction, name: str, source_sha256: str, options: Mapping[str, Any]) -> Dataset | None:
    """The newest version of `name` from the same bytes with the same options that has not failed."""
    query = select(Dataset).where(
        Dataset.name == name,
        Dataset.source_sha256 == source_sha256,
        Dataset.status != DatasetStatus.FAILED,
    )
    rows = session.execute(query.order_by(Dataset.version.desc())).scalars()
    wanted = IntakeOptions.model_validate(dict(options))
    # An older version stored fewer options: those that it lacks had today's defaults.
    return next((row for row in rows if IntakeOptions.model_validate(dict(row.options)) == wanted), None)


def add(
    session: OwnTransaction, id_: str, name: str, format_: str, source: Stored, options: Mapping[str, Any], job_id: str
) -> Dataset:
    """A new version of `name`, to be validated by `job_id`. Call `lock_name` before."""
    newest = session.execute(select(func.max(Dataset.version)).where(Dataset.name == name)).scalar_one()
    row = Dataset(
        id=id_,
        name=name,
        version=(newest or 0) + 1,
        status=DatasetStatus.VALIDATING,
        format=format_,
        source_sha256=source.sha256,
        bytes=source.bytes,
        options=dict(options),
        job_id=job_id,
        created_at=now_ms(),
    )
    session.add(row)
    session.flush()
    return row


def get(session: OwnTransaction, id_: str) -> Dataset:
    row = session.get(Dataset, id_)
    if row is None:
        raise NotFound("dataset", id_)
    return row


def find(session: OwnTransaction, reference: str, version: int | None = None) -> Dataset:
    """By id, by `name@version`, or the newest version of a name. Raises NotFound."""
    if ID_PATTERN.match(reference):
        row = session.get(Dataset, reference)
        if row is None or version not in (None, row.version):
            raise NotFound("dataset", reference)
        return row
    name, _, number = reference.partition("@")
    if not REFERENCE.fullmatch(reference) or (number and version is not None):  # no query for what PostgreSQL refuses
        raise NotFound("dataset", reference[:100])
    version = int(number) if number else version
    query = select(Dataset).where(Dataset.name == name)
    if version is not None:
        query = query.where(Dataset.version == version)
    row = session.execute(query.order_by(Dataset.version.desc()).limit(1)).scalar_one_or_none()
    if row is None:
        raise NotFound("dataset", name if version is None else f"{name}@{version}")
    return row


def names_by_id(session: OwnTransaction, ids: Iterable[object]) -> dict[str, str]:
    """`name@version` by id, for those of `ids` that are users' datasets. Registers these datasets in this process."""
    wanted = {id_ for id_ in ids if isinstance(id_, str) and ID_PATTERN.match(id_)}
    if not wanted:
        return {}
    rows = session.execute(select(Dataset).where(Dataset.id.in_(wanted))).scalars().all()
    for row in rows:
        know(row)
    return {row.id: f"{row.name}@{row.version}" for row in rows}


def shown(session: OwnTransaction, stored: str) -> str:
    """A dataset as people name it in a spec: a user's by `name@version` where a spec is stored with its id."""
    return names_by_id(session, [stored]).get(stored, stored)


def list_page(session: OwnTransaction, *, limit: int, after: str | None) -> Page:
    """Users' datasets, newest first."""
    return page(session, select(Dataset), Dataset.id, {"list": "datasets"}, limit, after)


# What a spec means


def resolved(session: OwnTransaction, document: object) -> object:
    """Replaces `dataset.name` in a spec by the name that the service stores, and registers the dataset in this process.

    `digits` and `ds_digits` become `digits`. The name of a user's dataset becomes the id of its newest ready version. A
    document without such a name is returned unchanged; its own validators refuse it.

    Raises:
        DatasetUnusable: there is no such dataset, or it is not ready.
    """
    part = document.get("dataset") if isinstance(document, dict) else None
    name = part.get("name") if isinstance(part, dict) else None
    if not isinstance(document, dict) or not isinstance(part, dict) or not isinstance(name, str):
        return document
    return {**document, "dataset": {**part, "name": resolve(session, name)}}


def resolve(session: OwnTransaction, name: str) -> str:
    """The name by which the service stores the dataset that a user calls `name`. Registers it in this process.

    Raises:
        DatasetUnusable: there is no such dataset, or it is not ready.
    """
    published = name.removeprefix(ID_PREFIX)
    if published in config.DATASETS:
        return published
    try:
        row = (_newest_ready(session, name) if NAME.fullmatch(name) else None) or find(session, name)
    except NotFound:
        raise DatasetUnusable(f"{name[:60]!r} is no dataset{_known(session, name)}") from None
    if row.status != DatasetStatus.READY:
        raise DatasetUnusable(not_ready(row))
    if row.same_as is not None:
        row = get(session, row.same_as)
    know(row)
    return row.id


def not_ready(row: Dataset) -> str:
    """Why a dataset cannot be used, in words for users."""
    title = f"{row.name}@{row.version} ({row.id})"
    if row.status == DatasetStatus.VALIDATING:
        return f"{title} is still being validated, by {row.job_id}; try again once it is ready"
    return f"{title} is not usable: {(row.problems or ['its upload was not valid'])[0]}"


def know(row: Dataset) -> None:
    """Registers a ready dataset in this process, for `addercore.config.dataset`."""
    if row.info is not None:
        config.register(config.DatasetInfo.from_dict(row.info))


def hold(session: OwnTransaction, name: object) -> None:
    """Locks a user's dataset against deletion until this transaction, which submits a job on it, has ended.

    Raises:
        Conflict: it is gone, or not ready.
    """
    if not isinstance(name, str) or not ID_PATTERN.match(name):
        return
    row = session.execute(select(Dataset).where(Dataset.id == name).with_for_update(read=True)).scalar_one_or_none()
    if row is None or row.status != DatasetStatus.READY:
        raise Conflict(f"The dataset {name} is not there (any more).")
    know(row)


def _newest_ready(session: OwnTransaction, name: str) -> Dataset | None:
    query = select(Dataset).where(Dataset.name == name, Dataset.status == DatasetStatus.READY)
    return session.execute(query.order_by(Dataset.version.desc()).limit(1)).scalar_one_or_none()


def _known(session: OwnTransaction, name: str) -> str:
    """A clause that lists the datasets, and says which one `name` may mean."""
    own = session.execute(select(Dataset.name).distinct().order_by(Dataset.name).limit(MAX_LISTED + 1)).scalars().all()
    more = ", …" if len(own) > MAX_LISTED else ""
    mine = f"; uploaded: {', '.join(own[:MAX_LISTED])}{more}" if own else ""
    meant = nearest_value(name[:60], [*config.DATASETS, *own])
    asked = "" if meant is None else f" (did you mean {meant}?)"
    return f"{asked}; published: {', '.join(config.DATASETS)}{mine}"


# How it ends


def ready(
    session: OwnTransaction, id_: str, stored: Stored, info: Mapping[str, Any], notes: Sequence[str], format_: str
) -> Dataset | None:
    """Makes a dataset ready, in the last transaction of its attempt. Returns None if it has been deleted meanwhile.

    `same_as` names an earlier version of the name with the same bytes; the bytes are stored once.
    """
    row = session.get(Dataset, id_, with_for_update=True)
    if row is None:
        return None
    lock_name(session, row.name)
    twin = session.execute(
        select(Dataset)
        .where(Dataset.name == row.name, Dataset.sha256 == stored.sha256, Dataset.id != id_)
        .where(Dataset.status == DatasetStatus.READY, Dataset.same_as.is_(None))
        .order_by(Dataset.version)
        .limit(1)
    ).scalar_one_or_none()
    row.sha256, row.bytes, row.info, row.format = stored.sha256, stored.bytes, dict(info), format_
    row.problems = list(notes) or None
    row.same_as = None if twin is None else twin.id
    row.status = DatasetStatus.READY
    session.flush()
    events.dataset_ended(session, row)
    return row


def explain(session: OwnTransaction, id_: str, problems: Sequence[str]) -> None:
    """Records in detail why a dataset has failed, after `core.change_status` has recorded one sentence."""
    row = session.get(Dataset, id_)
    if row is not None and row.status == DatasetStatus.FAILED and problems:
        row.problems = list(problems)
        session.flush()


def delete(session: OwnTransaction, row: Dataset) -> list[str]:
    """Deletes a dataset. Returns the sha256 of its blobs, for `ArtifactStore.discard`.

    Raises:
        Conflict: an unfinished job or sweep uses it.
    """
    id_, name = row.id, row.name
    found = session.get(Dataset, id_, with_for_update=True, populate_existing=True)
    if found is None:  # somebody else has just deleted it
        raise NotFound("dataset", id_)
    lock_name(session, name)
    named = Job.spec[("dataset", "name")].as_string() == id_
    mine = Job.id == found.job_id
    job = session.execute(select(Job).where(Job.status.not_in(FINAL), named | mine).order_by(Job.id).limit(1)).scalar()
    if job is not None:
        raise Conflict(f"{job.id} is {job.status} and needs the dataset. Cancel it or wait until it has ended.")
    require_no_sweep(session, id_, "dataset")
    session.delete(found)
    session.flush()
    return [digest for digest in (found.source_sha256, found.sha256) if digest]


def require_no_sweep(session: OwnTransaction, id_: str, what: str) -> None:
    """Raises Conflict if an unfinished sweep names this id."""
    for sweep in session.execute(select(Sweep).where(Sweep.status.not_in(SWEEP_FINAL))).scalars():
        if _mentions(sweep.spec, id_):
            raise Conflict(f"{sweep.id} is {sweep.status} and needs the {what}. Cancel it or wait until it has ended.")


def _mentions(value: object, id_: str) -> bool:
    """Whether a JSON document has `id_` among its values, at any depth."""
    if isinstance(value, dict):
        return any(_mentions(item, id_) for item in value.values())
    if isinstance(value, list):
        return any(_mentions(item, id_) for item in value)
    return value == id_


def stored_by(session: ServiceTransaction, digests: set[str]) -> set[str]:
    """Those of `digests` that belong to a ready dataset or to an upload that is being validated."""
    validated = select(Dataset.sha256).where(Dataset.sha256.in_(digests))
    waiting = select(Dataset.source_sha256).where(
        Dataset.source_sha256.in_(digests), Dataset.status == DatasetStatus.VALIDATING
    )
    found = session.execute(validated.union(waiting)).scalars()
    return {digest for digest in found if digest}
