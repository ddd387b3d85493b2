"""Chooses the next trial of a search, and which trials to end early, by optuna's samplers and pruners.

Nothing of optuna is stored. Each time the study is built from the rows of the trials, and its sampler is seeded by the
sweep's seed and the trial's number: the same rows give the same answer in any process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.states import TrialStatus
from jobs.sweeps.planning import Parameters, same_job
from jobs.sweeps.spec import Choice, FloatRange, Space, SweepSpec

if TYPE_CHECKING:
    import optuna

WARM_UP = 0.1
"""Share of a trial's epochs before which it is not pruned."""
DRAWS = 8
"""How often the sampler is asked for a point that has not been tried; then one is looked up."""
MOST_POINTS = 10_000
"""Points of a finite space that are looked at for one that has not been tried."""
STARTUP_TRIALS = 5
"""Finished trials from which on others are pruned: optuna's own default."""


@dataclass(frozen=True)
class Known:
    """What is known of a trial."""

    status: TrialStatus
    parameters: Parameters
    value: float | None = None
    curve: Mapping[int, float] = field(default_factory=dict)
    """Epoch → the objective there."""


def load() -> None:
    """Imports optuna, which takes half a second: call this before a transaction begins."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(spec: SweepSpec, trials: Sequence[Known]) -> Parameters | None:
    """The parameters of trial number `len(trials)`: a job that no earlier trial ran. None: the space has no other."""
    taken = {same_job(spec, known.parameters) for known in trials}
    for draw in range(DRAWS):
        study = _study(spec, trials, draw=draw)
        found = {name: _written(spec, name, value) for name, value in study.ask(_distributions(spec)).params.items()}
        if same_job(spec, found) not in taken:
            return found
    return _untried(spec, taken)


def _written(spec: SweepSpec, name: str, value: Any) -> Any:
    """A value as people write it: a step of floats without the error of its sum."""
    space = (spec.search or {})[name]
    if isinstance(space, FloatRange) and space.step is not None:
        return space.value(round((value - space.low) / space.step))
    return value


def _untried(spec: SweepSpec, taken: set[str]) -> Parameters | None:
    """The first point of a finite space, in an order that the seed draws, whose job has not been run."""
    spaces = spec.search or {}
    if spec.points is None:
        return None
    counts = {name: space.points or 1 for name, space in spaces.items()}
    start = _seed(spec.seed or 0, len(taken)) % spec.points
    for number in range(min(spec.points, MOST_POINTS)):
        rest, found = (start + number) % spec.points, {}
        for name, space in spaces.items():
            rest, at = divmod(rest, counts[name])
            found[name] = space.value(at)
        if same_job(spec, found) not in taken:
            return found
    return None


def to_prune(spec: SweepSpec, trials: Sequence[Known], numbers: Sequence[int], epochs: int) -> list[int]:
    """Those of the running trials `numbers` that are worse than the median of the finished ones at the same epoch."""
    if spec.pruner != "median" or not numbers:
        return []
    study = _study(spec, trials, warm_up=math.ceil(WARM_UP * epochs))
    rows = study.get_trials(deepcopy=False)
    return [number for number in numbers if trials[number].curve and study.pruner.prune(study, rows[number])]


def _study(spec: SweepSpec, trials: Sequence[Known], warm_up: int = 0, draw: int = 0) -> optuna.Study:
    load()
    import optuna
    from optuna.trial import TrialState, create_trial

    seed = _seed(spec.seed or 0, len(trials), draw)
    sampler = optuna.samplers.TPESampler if spec.sampler == "tpe" else optuna.samplers.RandomSampler
    study = optuna.create_study(
        direction=spec.direction,
        sampler=sampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warm_up),
    )
    states = {
        TrialStatus.SUCCEEDED: TrialState.COMPLETE,
        TrialStatus.PRUNED: TrialState.PRUNED,
        TrialStatus.RUNNING: TrialState.RUNNING,
    }
    spaces = _distributions(spec)
    for known in trials:
        state = states.get(known.status, TrialState.FAIL)
        study.add_trial(
            create_trial(
                state=state,
                value=known.value if state == TrialState.COMPLETE else None,
                params=known.parameters,
                distributions=spaces,
                intermediate_values=dict(known.curve),
            )
        )
    return study


def _distributions(spec: SweepSpec) -> dict[str, Any]:
    return {name: _distribution(space) for name, space in (spec.search or {}).items()}


def _distribution(space: Space) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, Choice):
        return CategoricalDistribution(space.choices)
    if isinstance(space, FloatRange):
        return FloatDistribution(space.low, space.high, log=space.log, step=space.step)
    return IntDistribution(space.low, space.high, log=space.log, step=space.step)


def _seed(seed: int, number: int, draw: int = 0) -> int:
    """32 bits that differ for each trial, and for each further draw of one whose point had been tried."""
    text = f"{seed} {number}" + (f" {draw}" if draw else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
