"""Names, notes, labels and stars of jobs and models, and aliases of models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, func, select

from jobs.access.scope import OwnTransaction
from jobs.errors import Conflict, NotFound
from jobs.finding_tables import ModelAlias, ModelLabel
from jobs.ids import ID_PATTERN
from jobs.keeping import ALIAS, MOST_ALIASES, MOST_LABELS, Edit
from jobs.repository.core import lock_job, upsert
from jobs.repository.indexing import index_job, index_model
from jobs.spec import SWEEP_LABELS
from jobs.tables import Job, Label, Model, Trial

_ALIAS: Final = re.compile(ALIAS)
MODEL_PREFIX: Final = "model_"
TEACHER: Final = ("distill", "teacher")


def edit_job(session: OwnTransaction, job_id: str, edit: Edit) -> Job:
    """Changes what users keep with a job. It may run meanwhile: nothing that its attempt reads or writes changes.

    Raises:
        NotFound: there is no such job.
        Conflict: it would have too many labels, or a label that its sweep gave it would change.
    """
    job = lock_job(session, job_id)
    labels = labels_of(session, Label, Label.job_id, [job_id])[job_id]
    changed = _merged(labels, edit)
    touched = [name for name in SWEEP_LABELS if labels.get(name) != changed.get(name)]
    if touched and session.execute(select(Trial.number).where(Trial.job_id == job_id).limit(1)).first():
        raise Conflict(f"The label {touched[0]!r} was given by the job's sweep, which finds it by that; it stays.")
    _set_fields(job, edit)
    _set_labels(session, Label, Label.job_id, job_id, labels, changed)
    session.flush()
    index_job(session, job, changed)
    return job


def edit_model(session: OwnTransaction, model_id: str, edit: Edit) -> Model:
    """Changes what users keep with a model.

    Raises:
        NotFound: there is no such model.
        Conflict: it would have too many labels.
    """
    model = _lock_model(session, model_id)
    labels = labels_of(session, ModelLabel, ModelLabel.model_id, [model_id])[model_id]
    changed = _merged(labels, edit)
    _set_fields(model, edit)
    _set_labels(session, ModelLabel, ModelLabel.model_id, model_id, labels, changed)
    session.flush()
    index_model(session, model, changed)
    return model


def _lock_model(session: OwnTransaction, model_id: str) -> Model:
    model = session.get(Model, model_id, with_for_update=True, populate_existing=True)
    if model is None:
        raise NotFound("model", model_id)
    return model


def _merged(labels: Mapping[str, str], edit: Edit) -> dict[str, str]:
    if "labels" not in edit.model_fields_set:
        return dict(labels)
    if edit.labels is None:
        return {}
    merged = {key: value for key, value in {**labels, **edit.labels}.items() if value is not None}
    if len(merged) > MOST_LABELS:
        raise Conflict(f"It would have {len(merged)} labels; at most {MOST_LABELS}. Take some away with null.")
    return merged


def _set_fields(row: Job | Model, edit: Edit) -> None:
    for name in ("name", "notes", "starred"):
        if name in edit.model_fields_set:
            setattr(row, name, getattr(edit, name))


def _set_labels(
    session: OwnTransaction, table: Any, owner: Any, id_: str, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    gone = [key for key in before if key not in after]
    if gone:
        session.execute(delete(table).where(owner == id_, table.key.in_(gone)))
    for key, value in after.items():
        if before.get(key) != value:
            insertion = upsert(session, table).values({owner.key: id_, "key": key, "value": value})
            session.execute(insertion.on_conflict_do_update(index_elements=[owner.key, "key"], set_={"value": value}))


def labels_of(session: OwnTransaction, table: Any, owner: Any, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The labels of jobs or models, by id."""
    found: dict[str, dict[str, str]] = {id_: {} for id_ in ids}
    for row in session.execute(select(table).where(owner.in_(ids)).order_by(table.key)).scalars():
        found[getattr(row, owner.key)][row.key] = row.value
    return found


def model_labels(session: OwnTransaction, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The labels of models, by id."""
    return labels_of(session, ModelLabel, ModelLabel.model_id, ids)


# Aliases


def is_alias(name: object) -> bool:
    """Whether a name may be an alias: it can be told from an id."""
    if not isinstance(name, str) or not _ALIAS.fullmatch(name):
        return False
    return not name.startswith(MODEL_PREFIX) and not ID_PATTERN.match(name)


def model_named(session: OwnTransaction, alias: str) -> str | None:
    """The id of the model to which an alias points."""
    query = select(ModelAlias.model_id).where(ModelAlias.alias == alias)
    return session.execute(query).scalar_one_or_none() if is_alias(alias) else None


def model_id_of(session: OwnTransaction, reference: str) -> str:
    """The id of the model that an id or an alias names; whether an id has a model is not looked up.

    Raises:
        NotFound: nothing has this alias.
    """
    if ID_PATTERN.match(reference):
        return reference
    found = model_named(session, reference)
    if found is None:
        raise NotFound("model", reference[:60])
    return found


def set_alias(session: OwnTransaction, model_id: str, alias: str) -> Model:
    """Points an alias to a model, also where it pointed to another one.

    Raises:
        NotFound: there is no such model.
        Conflict: the model has too many aliases.
    """
    model = _lock_model(session, model_id)
    others = select(func.count()).where(ModelAlias.model_id == model_id, ModelAlias.alias != alias)
    if session.execute(others).scalar_one() >= MOST_ALIASES:
        raise Conflict(f"The model has {MOST_ALIASES} aliases, the most that it may have. Remove one.")
    insertion = upsert(session, ModelAlias).values(alias=alias, model_id=model_id)
    session.execute(
        insertion.on_conflict_do_update(index_elements=["project_id", "alias"], set_={"model_id": model_id})
    )
    return model


def remove_alias(session: OwnTransaction, model_id: str, alias: str) -> None:
    """Takes an alias from a model. Raises NotFound where the model has no such alias."""
    mine = (ModelAlias.alias == alias, ModelAlias.model_id == model_id)
    taken = delete(ModelAlias).where(*mine).returning(ModelAlias.alias)
    if not is_alias(alias) or session.execute(taken).first() is None:
        raise NotFound(f"alias of {model_id} named", alias[:60])


def aliases_of(session: OwnTransaction, ids: Sequence[str]) -> dict[str, list[str]]:
    """The aliases of models, by id, in order."""
    found: dict[str, list[str]] = {id_: [] for id_ in ids}
    rows = session.execute(select(ModelAlias).where(ModelAlias.model_id.in_(ids)).order_by(ModelAlias.alias))
    for row in rows.scalars():
        found[row.model_id].append(row.alias)
    return found


def with_ids(session: OwnTransaction, document: Any) -> Any:
    """A spec with the ids of the models that it names by aliases. What is no alias stays for the spec's validators."""
    if not isinstance(document, dict):
        return document
    found = dict(document)
    for field in ("init_from", "model_id"):
        if field in found:
            found[field] = id_for(session, found[field])
    part, name = TEACHER
    if isinstance(found.get(part), dict) and name in found[part]:
        found[part] = {**found[part], name: id_for(session, found[part][name])}
    return found


def id_for(session: OwnTransaction, value: Any) -> Any:
    """The id of the model that a value names, where it is an alias; else the value."""
    return (model_named(session, value) if is_alias(value) else None) or value
