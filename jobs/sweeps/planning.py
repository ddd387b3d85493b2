"""The specs of a sweep's children, and what is wrong with them: all of it before anything is created."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from addercore.config import explain, merge
from jobs.spec import SUBMITTED, SUBMITTED_SPEC, SubmittedSpec
from jobs.sweeps.objectives import wrong_objective
from jobs.sweeps.spec import MOST_SWEEP_LABELS, Choice, SweepSpec

Parameters = dict[str, Any]
"""Dotted name of a field → value."""
Fields = Sequence[tuple[str, str]]
"""`(pointer, sentence)` of each bad field."""
MOST_ERRORS = 50
MOST_CORNERS = 1000
"""Specs that are checked of a search."""


class InvalidSweep(ValueError):
    """A sweep that cannot be run; `errors` has every bad field as (pointer into the request, sentence)."""

    def __init__(self, errors: Fields) -> None:
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in errors))
        self.errors = tuple(errors)


def bad_fields(error: ValidationError) -> Fields:
    """The bad fields of a child's spec."""
    return [(one.pointer, one.reason) for one in explain(error, SUBMITTED_SPEC, json.dumps)]


def combinations(spec: SweepSpec) -> Iterator[Parameters]:
    """The children of a grid, in order: the last field changes fastest."""
    grid = spec.grid or {}
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def document(base: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    """The base with these fields set."""
    changes: dict[str, Any] = {}
    for name, value in parameters.items():
        *parents, last = name.split(".")
        place = changes
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return merge(dict(base), changes)


def dataset_of(spec: SweepSpec, parameters: Parameters) -> Any:
    """What a child calls its dataset."""
    part = document(spec.base, parameters).get("dataset")
    return part.get("name") if isinstance(part, dict) else None


def child(spec: SweepSpec, parameters: Parameters, labels: Mapping[str, str] = {}) -> SubmittedSpec:
    """The whole spec of a child, with the sweep's labels and these. Raises pydantic's ValidationError."""
    given = document(spec.base, parameters)
    own = given.get("labels")
    if own is None or isinstance(own, dict):
        given["labels"] = {**(own or {}), **spec.labels, **labels}
    return SUBMITTED_SPEC.validate_python(given)


def same_job(spec: SweepSpec, parameters: Parameters) -> str:
    """A text that is the same for two children whose jobs would be the same, labels aside: 1 and 1.0, null and the
    default. Of a child that makes no valid job it is that of its parameters."""
    try:
        made = child(spec, parameters).model_dump(mode="json", exclude={"labels"})
    except ValidationError:
        made = parameters
    return json.dumps(made, sort_keys=True)


def require_size(spec: SweepSpec, most: int) -> None:
    """Raises InvalidSweep where it would make more than `most` jobs."""
    if spec.size <= most:
        return
    limit = f"a sweep may make at most {most:,} (ADDER_MAX_SWEEP_JOBS)"
    if spec.grid is None:
        raise InvalidSweep([("/trials", f"asks for {spec.size:,} jobs; {limit}")])
    factors = " × ".join(str(len(values)) for values in spec.grid.values())
    reason = f"makes {factors} = {spec.size:,} jobs; {limit}. Take fewer values, or a search with so many trials"
    raise InvalidSweep([("/grid", reason)])


def plan(spec: SweepSpec, most: int) -> list[tuple[Parameters, SubmittedSpec]]:
    """Every child of a grid; of a search, whose trials are not known before, the one with the first of each range.

    Args:
        most: children that a sweep may have.

    Raises:
        InvalidSweep: some child would be refused; each bad field once, with a pointer to the value that causes it.
    """
    require_size(spec, most)
    _require_kind(spec)
    candidates = list(combinations(spec)) if spec.grid is not None else _corners(spec)
    if len(candidates) > MOST_CORNERS and spec.grid is None:
        reason = f"has {len(candidates):,} choices and ends of ranges in all; each is checked, at most {MOST_CORNERS:,}"
        raise InvalidSweep([("/search", reason)])
    found: dict[tuple[str, str], None] = {}  # in order, each once
    planned: list[tuple[Parameters, SubmittedSpec]] = []
    seen: dict[str, Parameters] = {}
    for parameters in candidates:
        try:
            one = child(spec, parameters)
            planned.append((parameters, one))
            if spec.grid is not None:
                first = seen.setdefault(same_job(spec, parameters), parameters)
                if first is not parameters:
                    found[_repeated(spec, parameters, first)] = None
            if len(one.labels) > MOST_SWEEP_LABELS:
                reason = f"gives each job {len(one.labels)} labels; at most {MOST_SWEEP_LABELS}, as the sweep adds two"
                found["/base/labels", reason] = None
        except ValidationError as error:
            for where, why in bad_fields(error):
                found[blame(spec, parameters, where, why)] = None
        if len(found) >= MOST_ERRORS:
            break
    if found:
        raise InvalidSweep(list(found))
    return planned if spec.grid is not None else planned[:1]


def _require_kind(spec: SweepSpec) -> None:
    """The base is of a kind that can be submitted, and its jobs have the objective."""
    kind = spec.base.get("kind")
    if kind not in SUBMITTED:
        raise InvalidSweep([("/base/kind", f"must be one of {', '.join(SUBMITTED)}")])
    wrong = wrong_objective(kind, spec.objective)
    if wrong is not None:
        raise InvalidSweep([("/objective", wrong)])


def _repeated(spec: SweepSpec, parameters: Parameters, first: Parameters) -> tuple[str, str]:
    """The value by which a child of a grid is the same job as an earlier one."""
    name = next(name for name, value in parameters.items() if json.dumps(value) != json.dumps(first[name]))
    shown = ", ".join(f"{key} {json.dumps(value)}" for key, value in first.items())
    return _value_pointer(spec, name, parameters[name]), f"makes the same job as {shown}; give each value once"


def _corners(spec: SweepSpec) -> list[Parameters]:
    """The search's first point, then each field's other ends with the rest as there."""
    ends = {
        name: list(space.choices) if isinstance(space, Choice) else [space.low, space.high]
        for name, space in (spec.search or {}).items()
    }
    first = {name: values[0] for name, values in ends.items()}
    return [first, *(first | {name: value} for name, values in ends.items() for value in values[1:])]


def blame(spec: SweepSpec, parameters: Parameters, where: str, why: str) -> tuple[str, str]:
    """The place in the sweep's request that a child's bad field comes from."""
    for name, value in parameters.items():
        at = "/" + name.replace(".", "/")
        if where == at and why.startswith("is not a field"):
            return f"/{'search' if spec.grid is None else 'grid'}/{name}", why
        if where == at or where.startswith(at + "/"):
            return _value_pointer(spec, name, value) + where[len(at) :], why
        if at.startswith(where + "/"):
            return f"/{'search' if spec.grid is None else 'grid'}/{name}", why
    return f"/base{where}", why


def _value_pointer(spec: SweepSpec, name: str, value: Any) -> str:
    if spec.grid is not None:
        return f"/grid/{name}/{_place(spec.grid[name], value)}"
    space = (spec.search or {})[name]
    if isinstance(space, Choice):
        return f"/search/{name}/choices/{_place(space.choices, value)}"
    return f"/search/{name}/{'low' if value == space.low else 'high'}"


def _place(values: Sequence[Any], value: Any) -> int:
    """The very object first, then by type too: 1 and true are two values, and so are equal objects with 2 and 2.0."""
    for at, one in enumerate(values):
        if one is value:
            return at
    return next(at for at, one in enumerate(values) if type(one) is type(value) and one == value)
