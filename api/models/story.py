"""What a model's page tells beside the model: where it comes from, what came of it, how well it does, how to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.jobs.confusion import confusion_of, mistakes_of
from api.jobs.job_view import job_title
from jobs.access.scope import OwnTransaction
from jobs.repository import history, lineage
from jobs.repository.models import teacher_of
from jobs.tables import Dataset, Job, Model

MOST_DESCENDANTS = 20


@dataclass(frozen=True)
class Step:
    """A line of a model's lineage: a word, a text, and the page that it leads to."""

    what: str
    text: str
    path: str | None = None


@dataclass(frozen=True)
class Descendant:
    """A job that began with the model."""

    id: str
    title: Sequence[str]
    kind: str
    status: str
    model_id: str | None
    """What it published, if anything."""


def story_of(session: OwnTransaction, model: Model) -> dict[str, Any]:
    """The part of the context that the model's page needs for its story."""
    evaluation = lineage.evaluation_of(session, model.id)
    classes = model.manifest.get("classes")
    names = classes if isinstance(classes, list) else None
    artifacts = [] if evaluation is None else history.artifacts(session, evaluation.id)
    made = lineage.made_from(session, model.id, MOST_DESCENDANTS)
    return {
        "evaluation": evaluation,
        "confusion": None if evaluation is None else confusion_of(evaluation, names),
        "mistakes": None if evaluation is None else mistakes_of(evaluation, artifacts, names),
        "origins": _origins(session, model),
        "descendants": [_descendant(job) for job in made],
        "input": _input_of(model.manifest),
        "c_name": model.arch,
    }


def _origins(session: OwnTransaction, model: Model) -> list[Step]:
    """Dataset, job and models from which it was made."""
    dataset = session.get(Dataset, model.dataset)
    named = model.dataset if dataset is None else f"{dataset.name}@{dataset.version}"
    found = [Step("dataset", named, "/datasets")]
    job = None if model.job_id is None else session.get(Job, model.job_id)
    if job is None:
        found.append(Step("from", "an import" if model.source == "imported" else "a job that was deleted"))
    else:
        found.append(Step("job", f"{job.kind} {job.id}", f"/jobs/{job.id}"))
        found += [
            Step(what, id_, f"/models/{id_}")
            for what, id_ in (("trained on from", job.spec.get("init_from")), ("teacher", teacher_of(job.spec)))
            if isinstance(id_, str) and id_
        ]
        if job.continued_from:
            found.append(Step("continues", job.continued_from, f"/jobs/{job.continued_from}"))
    if model.derived_from:
        found.append(Step("integers of", model.derived_from, f"/models/{model.derived_from}"))
    return found


def _descendant(job: Job) -> Descendant:
    return Descendant(job.id, job_title(job.kind, job.spec), job.kind, job.status, job.model_id)


@dataclass(frozen=True)
class Input:
    """The images that a model takes."""

    channels: int
    height: int
    width: int

    @property
    def mode(self) -> str:
        """As Pillow calls it."""
        return "L" if self.channels == 1 else "RGB"


def _input_of(manifest: Mapping[str, Any]) -> Input | None:
    network = manifest.get("network")
    shape = network.get("input_shape") if isinstance(network, Mapping) else None
    if isinstance(shape, list) and len(shape) == 3 and all(isinstance(size, int) for size in shape):
        return Input(*shape)
    return None
