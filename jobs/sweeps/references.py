"""What a sweep's jobs refer to: its datasets, by the ids that the service stores, and models."""

from __future__ import annotations

from typing import Any

from jobs.access.scope import OwnTransaction
from jobs.errors import DatasetUnusable
from jobs.repository import datasets, keeping, models
from jobs.sweeps.planning import InvalidSweep, combinations, dataset_of, document
from jobs.sweeps.spec import Choice, SweepSpec


def resolved(session: OwnTransaction, spec: SweepSpec) -> SweepSpec:
    """The sweep with the id of each user's dataset, known to this process from here on.

    Raises:
        InvalidSweep: a dataset is not there, or not ready.
    """
    names = _Names(session)
    base: dict[str, Any] = dict(keeping.with_ids(session, spec.base))
    if isinstance(base.get("dataset"), dict):
        base["dataset"] = names.part(base["dataset"], "/base/dataset")
    grid, search = spec.grid, spec.search
    if grid is not None:
        grid = {
            name: [names.value(name, v, f"/grid/{name}/{at}") for at, v in enumerate(vs)] for name, vs in grid.items()
        }
    if search is not None:
        search = {name: names.choice(name, space) for name, space in search.items()}
    if names.found:
        raise InvalidSweep(names.found)
    return spec.model_copy(update={"base": base, "grid": grid, "search": search})


def hold(session: OwnTransaction, spec: SweepSpec) -> None:
    """Keeps what a sweep's jobs will need, users' datasets and models, until this transaction, which creates it, has
    ended.

    Raises:
        Conflict: one has just been deleted.
    """
    choices = {name: space.choices for name, space in (spec.search or {}).items() if isinstance(space, Choice)}
    chosen = [{name: value} for name, values in choices.items() for value in values]
    every = list(combinations(spec)) if spec.grid is not None else [{}, *chosen]
    names = {name: None for parameters in every if isinstance(name := dataset_of(spec, parameters), str)}
    for name in names:
        datasets.hold(session, name)
    models.hold(session, {id_ for parameters in every for id_ in models.models_of(document(spec.base, parameters))})


MODELS = ("init_from", "model_id", "distill.teacher")
"""Fields that name a model, perhaps by an alias."""


class _Names:
    """Resolves names, and collects what is wrong with them."""

    def __init__(self, session: OwnTransaction) -> None:
        self._session = session
        self.found: list[tuple[str, str]] = []

    def value(self, field: str, value: Any, pointer: str) -> Any:
        """A value of a field that may name a dataset."""
        if field == "dataset":
            return self.part(value, pointer)
        if field in MODELS:
            return keeping.id_for(self._session, value)
        if field == "distill":
            return keeping.with_ids(self._session, {"distill": value})["distill"]
        return self._name(value, pointer) if field == "dataset.name" else value

    def part(self, part: Any, pointer: str) -> Any:
        """A spec's object `dataset`."""
        if not isinstance(part, dict) or "name" not in part:
            return part
        return {**part, "name": self._name(part["name"], f"{pointer}/name")}

    def choice(self, field: str, space: Any) -> Any:
        if not isinstance(space, Choice):
            return space
        found = [self.value(field, value, f"/search/{field}/choices/{at}") for at, value in enumerate(space.choices)]
        return space.model_copy(update={"choices": found})

    def _name(self, name: Any, pointer: str) -> Any:
        if not isinstance(name, str):
            return name  # the spec's own validators say so
        try:
            return datasets.resolve(self._session, name)
        except DatasetUnusable as error:
            self.found.append((pointer, str(error)))
            return name
