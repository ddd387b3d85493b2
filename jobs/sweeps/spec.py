"""A sweep as it arrives by REST and as it is stored: a base spec with a grid of values, or a space to search."""

from __future__ import annotations

import json
from decimal import Decimal
from math import prod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from addercore.config import field_errors
from addercore.config.fields import WHOLE, Count, Form, PositiveFloat, Section, Seed
from jobs.spec import SWEEP_LABELS, LabelKey, LabelValue
from jobs.sweeps.objectives import DEFAULTS, RESULT, Direction, direction_of

MOST_SWEEP_LABELS = 30  # of the 32 that a job may have: the sweep adds two
"""Labels that a sweep gives its jobs."""
PARALLEL_GRID = 64
"""Jobs of a grid that are unfinished at a time, unless `parallel` says otherwise."""
PARALLEL_SEARCH = 2
"""Of a search: few, as each trial is chosen by the results before it, and more than one keeps a slot busy meanwhile."""
TRIALS = 20
MOST_FIELDS = 50
"""Fields that one sweep varies."""
MOST_VALUES = 10_000
"""Values of one field of a grid."""

MOST_POINTS = 2**53
"""Values of a range with a step."""

RANGE = frozenset({"type", "low", "high", "min", "max", "step", "distribution", "choices"})
"""What a range has, here and in other tools."""


def _listed(value: Any) -> Any:
    """Refuses what looks like something else than the values of one field of a grid."""
    if not isinstance(value, dict):
        return value
    if RANGE & value.keys():
        raise field_errors([("", "is a range, which stands under search; under grid stands a list of values")])
    raise field_errors(
        [("", "is a section; name each field with dots, such as optimizer.lr, and give a list of values")]
    )


def _ranged(value: Any) -> Any:
    """Refuses what is no range of one field of a search."""
    if isinstance(value, dict):
        return value
    example = '{"type": "float", "low": 0.01, "high": 1}'
    if isinstance(value, list):
        raise field_errors([("", f"is a list, which stands under grid; under search stands a range such as {example}")])
    raise field_errors([("", f"must be the range of a field, such as {example}, got {json.dumps(value)[:60]}")])


FieldName = Annotated[
    str,
    Field(max_length=100, pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", examples=["optimizer.eta"]),
    Form("the dotted name of a field, such as optimizer.eta"),
]
"""Dotted name of a field of the base spec."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | Finite | Annotated[str, Field(max_length=256)] | None


class FloatRange(Section):
    """Any number from `low` to `high`; with `step` one of `low`, `low + step`, … up to `high`."""

    type: Literal["float"]
    low: Finite
    high: Finite
    step: PositiveFloat | None = None
    log: bool = False
    """Even in the logarithm."""

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        _check_range(self.low, self.high, self.log, least=0.0)
        if self.step is not None:
            _check_step(self, Decimal(str(self.high)) - Decimal(str(self.low)), Decimal(str(self.step)))
        return self

    @property
    def points(self) -> int | None:
        """How many values it has; None: any number between its ends."""
        if self.step is None:
            return None
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step))) + 1

    def value(self, number: int) -> float:
        """`low + number · step` as people write it: 0.3, not 0.30000000000000004."""
        return float(Decimal(str(self.low)) + number * Decimal(str(self.step or 0)))


class IntRange(Section):
    """Whole numbers `low`, `low + step`, … up to `high`."""

    type: Literal["int"]
    low: Annotated[int, Field(ge=-(2**53), le=2**53), WHOLE]
    high: Annotated[int, Field(ge=-(2**53), le=2**53), WHOLE]
    step: Count = 1
    log: bool = False
    """Even in the logarithm."""

    @model_validator(mode="after")
    def _ordered(self) -> IntRange:
        _check_range(self.low, self.high, self.log, least=1)
        if self.step != 1:
            _check_step(self, Decimal(self.high - self.low), Decimal(self.step))
        return self

    @property
    def points(self) -> int:
        """How many values it has."""
        return (self.high - self.low) // self.step + 1

    def value(self, number: int) -> int:
        """`low + number · step`."""
        return self.low + number * self.step


class Choice(Section):
    """One of these values."""

    type: Literal["categorical"]
    choices: Annotated[list[Scalar], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _distinct(self) -> Choice:
        repeated = repetitions(self.choices)
        if repeated:
            raise field_errors((f"/choices/{at}", f"repeats choice {first}; give each once") for at, first in repeated)
        return self

    @property
    def points(self) -> int:
        """How many values it has."""
        return len(self.choices)

    def value(self, number: int) -> Any:
        """One of the choices."""
        return self.choices[number]


Space = Annotated[FloatRange | IntRange | Choice, Field(discriminator="type")]


class Budget(Section):
    max_seconds: PositiveFloat
    """No trial begins once the sweep's jobs have run for so long, all together; those that run are finished."""


class SweepSpec(Section):
    """Jobs that vary a base spec: every combination of a `grid`, or `trials` points of a `search`."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")] | None = None
    """For people."""
    base: dict[str, Any]
    """A job's spec, as `POST /v1/jobs` takes it; fields left out get their defaults for each child by itself."""
    grid: (
        Annotated[
            dict[
                FieldName, Annotated[list[Any], Field(min_length=1, max_length=MOST_VALUES), BeforeValidator(_listed)]
            ],
            Field(min_length=1, max_length=MOST_FIELDS),
        ]
        | None
    ) = None
    """Dotted name of a field → its values. Each combination is a child, the last field changing fastest."""
    search: (
        Annotated[
            dict[FieldName, Annotated[Space, BeforeValidator(_ranged)]], Field(min_length=1, max_length=MOST_FIELDS)
        ]
        | None
    ) = None
    """Dotted name of a field → where to look for its best value."""
    objective: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")] = "val/accuracy"
    """What counts: a metric's final value, or a number of the job's result by its path (`result.counts.add`). By
    default val/accuracy of trainings and result.accuracy of evaluations."""
    direction: Direction = "maximize"
    """Left out: `minimize` where the objective's name holds loss, latency, _ms, bytes or energy, else `maximize`."""
    parallel: Annotated[int, Field(ge=1, le=10_000), WHOLE] | None = None
    """Children that are unfinished at a time; by default 64 of a grid and 2 of a search."""
    budget: Budget | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=MOST_SWEEP_LABELS)
    """For the sweep and its jobs, which also get `sweep` and `trial`."""
    trials: Count | None = None
    """Of a search: how many children it may have; 20 by default."""
    sampler: Literal["tpe", "random"] | None = None
    """Of a search: by what came out so far (tree-structured Parzen estimator, the default), or at random."""
    pruner: Literal["median", "none"] | None = None
    """Of a search: whether a trial ends early that is worse than the median of the others at the same epoch
    (`median`, the default), or runs to its end."""
    seed: Seed | None = None
    """Of a search; 0 by default. The same results before it give the same next trial."""

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """What depends on whether it is a grid or a search, as the stored spec has every default filled in."""
        if not isinstance(data, dict):
            return data
        if "kind" in data and "base" not in data:
            raise field_errors([("", "is a job's spec; put it under base, and what varies under grid or search")])
        base = data.get("base")
        kind = base.get("kind") if isinstance(base, dict) else None
        objective = data.get("objective") or DEFAULTS.get(kind if isinstance(kind, str) else "", "val/accuracy")
        mine: dict[str, Any] = {"objective": objective, "direction": direction_of(objective)}
        if data.get("search") is not None and data.get("grid") is None:
            curved = kind == "train" and not str(objective).startswith(RESULT)
            mine |= {"parallel": PARALLEL_SEARCH, "trials": TRIALS, "sampler": "tpe", "seed": 0}
            mine["pruner"] = "median" if curved else "none"
        else:
            mine["parallel"] = PARALLEL_GRID
        return data | {key: value for key, value in mine.items() if data.get(key) is None}

    @model_validator(mode="after")
    def _one_kind(self) -> SweepSpec:
        found = [] if (self.grid is None) != (self.search is None) else [("", "give either a grid or a search")]
        if self.grid is not None and self.search is None:
            alone = ("trials", "sampler", "pruner", "seed")
            reason = "belongs to a search; a grid runs all its combinations to their end"
            found += [(f"/{name}", reason) for name in alone if getattr(self, name) is not None]
        found += _bad_names("grid", self.grid or {}) + _bad_names("search", self.search or {})
        for name, values in (self.grid or {}).items():
            for at, first in repetitions(values):
                found.append((f"/grid/{name}/{at}", f"repeats value {first} of {name}; give each once"))
        found += [
            (f"/labels/{key}", "is a label that the sweep itself gives") for key in SWEEP_LABELS if key in self.labels
        ]
        if found:
            raise field_errors(found)
        return self

    @property
    def size(self) -> int:
        """How many children it has in the end, at most: of a search no more than its space has points."""
        if self.grid is not None:
            return prod(len(values) for values in self.grid.values())
        trials, points = self.trials or 0, self.points
        return trials if points is None else min(trials, points)

    @property
    def points(self) -> int | None:
        """How many different points the space of a search has; None: without end."""
        found = [space.points for space in (self.search or {}).values()]
        return None if None in found else prod(points for points in found if points is not None)

    @property
    def fields(self) -> tuple[str, ...]:
        """Dotted names of what varies."""
        return tuple(self.grid or self.search or ())


def repetitions(values: list[Any]) -> list[tuple[int, int]]:
    """`(place, earlier place)` of each value that was there before; 1, 1.0 and true are three values."""
    seen: dict[str, int] = {}
    found = []
    for at, value in enumerate(values):
        first = seen.setdefault(json.dumps(value, sort_keys=True), at)
        if first != at:
            found.append((at, first))
    return found


def _check_range(low: float, high: float, log: bool, least: float) -> None:
    """Errors under the range's own fields."""
    found = [] if low < high else [("/high", f"must be greater than low = {low}, got {high}")]
    if log and (low < least or low <= 0):
        found.append(("/low", f"must be {'> 0' if least == 0 else f'≥ {least}'} where log is true, got {low}"))
    if found:
        raise field_errors(found)


def _check_step(space: FloatRange | IntRange, span: Decimal, step: Decimal) -> None:
    """Raises the error under `step`: a range in the logarithm has none, and a step divides the range."""
    if space.log:
        raise field_errors([("/step", f"must be left out where log is true, got {space.step}")])
    if span / step > MOST_POINTS:  # beyond, the remainder is none that Decimal has
        raise field_errors([("/step", f"must leave at most 2^53 values between low and high, got {space.step}")])
    if span % step:
        reason = f"must divide high − low = {span.normalize():f}, got {space.step}: change step or high"
        raise field_errors([("/step", reason)])


def _bad_names(where: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name in fields:
        if name == "kind" or name.split(".")[0] == "labels":
            found.append((f"/{where}/{name}", "cannot vary: give it in base"))
        inside = next((other for other in fields if name.startswith(other + ".")), None)
        if inside is not None:
            found.append((f"/{where}/{name}", f"lies in {inside}, which varies too; vary one of them"))
    return found
