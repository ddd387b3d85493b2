"""Keeps the words and numbers of jobs and models, by which they are found and sorted, as their rows are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, insert

from jobs.access.scope import Transaction
from jobs.finding_tables import JobMetric, JobWord, ModelMetric, ModelWord
from jobs.tables import Dataset, Job, Model
from jobs.words import numbers_of, words_of


def index_job(session: Transaction, job: Job, labels: Mapping[str, str]) -> None:
    """Writes the words of a job anew: of its name, labels, network or recipe, and dataset."""
    about = _object(job.spec.get("model")).get("arch") or _arch(session, job.spec.get("model_id"))
    texts = (job.name, about, job.spec.get("recipe"), _dataset(session, job.dataset), *_flat(labels))
    _replace(session, JobWord, JobWord.job_id, job.id, texts)


def index_model(session: Transaction, model: Model, labels: Mapping[str, str]) -> None:
    """Writes the words of a model anew: of its name, labels, network and dataset."""
    texts = (model.name, model.arch, _dataset(session, model.dataset), *_flat(labels))
    _replace(session, ModelWord, ModelWord.model_id, model.id, texts)


def index_result(session: Transaction, job: Job) -> None:
    """Writes the numbers of the result of a job that has just succeeded."""
    rows = [{"job_id": job.id, "name": name, "value": value} for name, value in numbers_of(job.result).items()]
    if rows:
        session.execute(insert(JobMetric), rows)


def index_new_model(session: Transaction, model: Model) -> None:
    """Writes the words and numbers of a new model, whose row is flushed."""
    index_model(session, model, {})
    rows = [{"model_id": model.id, "name": name, "value": value} for name, value in numbers_of(model.metrics).items()]
    if rows:
        session.execute(insert(ModelMetric), rows)


def _replace(session: Transaction, table: Any, owner: Any, id_: str, texts: Iterable[object]) -> None:
    session.execute(delete(table).where(owner == id_))
    rows = [{owner.key: id_, "word": word} for word in words_of(texts)]
    if rows:
        session.execute(insert(table), rows)


def _flat(labels: Mapping[str, str]) -> list[str]:
    return [text for label in labels.items() for text in label]


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _arch(session: Transaction, model_id: object) -> str | None:
    model = session.get(Model, model_id) if isinstance(model_id, str) else None
    return None if model is None else model.arch


def _dataset(session: Transaction, name: str | None) -> str | None:
    """The name that its user gave to a dataset; a published one's own."""
    row = session.get(Dataset, name) if name is not None else None
    return name if row is None else row.name
