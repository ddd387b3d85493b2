"""What the service costs a training run, in CPU seconds of its steady state, beside calling `addercore.fit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.rows import Row, filesystem
from benchmarks.service.runs import TRAINING, Run, direct, served
from benchmarks.service.setup import Setup

ROUNDS = 3
QUICK_ROUNDS = 1
EPOCHS = 30  # the digits recipe: about 25 s of one core
QUICK_EPOCHS = 3
SPEC: dict[str, Any] = {
    "kind": "train",
    "model": {"arch": "lenet5_bn", "method": "adder"},
    "dataset": {"name": "digits"},
    "resources": {"device": "cpu", "threads": 1},
}
DIRECT = "direct"


def measure(setup: Setup) -> Iterator[Row]:
    """Rounds of every variant in turn, each second one in reverse, so that a drift of the machine cancels out."""
    rounds, epochs = (QUICK_ROUNDS, QUICK_EPOCHS) if setup.quick else (ROUNDS, EPOCHS)
    spec = SPEC | {"epochs": epochs}
    variants: dict[str, Callable[[], Run]] = {DIRECT: partial(direct, setup, spec)}
    for database in setup.databases:
        variants[database] = partial(served, setup, database, spec, watched=False)
        variants[f"{database}, watched"] = partial(served, setup, database, spec, watched=True)
    load = os.getloadavg()
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            runs[name].append(variants[name]())
    _require_equal(runs)
    errors = [run.sampling_error for run in runs[DIRECT] if run.sampling_error is not None]
    settings = {
        "quick": setup.quick, "spec": spec, "rounds": rounds, "filesystem": filesystem(setup.scratch),
        "sampling_error_percent": round(100 * max(errors), 4),
    }  # fmt: skip
    for name, found in runs.items():
        yield from _rows(name, found, runs[DIRECT], load, settings)


def _rows(
    name: str, runs: list[Run], reference: list[Run], load: tuple[float, float, float], settings: dict[str, Any]
) -> Iterator[Row]:
    def row(benchmark: str, variant: str, unit: str, values: list[float]) -> Row:
        return Row(benchmark, variant, unit, values, load, settings)

    if name != DIRECT:
        pairs = list(zip(runs, reference, strict=True))
        of_child = [100 * (run.cpu[TRAINING] / base.total - 1) for run, base in pairs]
        of_all = [100 * (run.total / base.total - 1) for run, base in pairs]
        beside = [100 * (run.total / run.cpu[TRAINING] - 1) for run in runs]
        yield row("overhead, all processes against direct", name, "%", of_all)
        yield row("overhead, training process against direct", name, "%", of_child)
        yield row("CPU beside training, of its CPU", name, "%", beside)
        for part in runs[0].cpu:
            if part != TRAINING:
                share = [100 * run.cpu[part] / run.cpu[TRAINING] for run in runs]
                yield row("CPU beside training, of its CPU", f"{name}: {part}", "%", share)
    yield row("steady state, CPU", name, "s", [run.total for run in runs])
    yield row("steady state, wall", name, "s", [run.wall for run in runs])
    yield row("start to first metric, wall", name, "s", [run.start_up for run in runs])
    yield row("start to end, wall", name, "s", [run.whole for run in runs])


def _require_equal(runs: dict[str, list[Run]]) -> None:
    """Training is deterministic: different results would mean that the runs did different work."""
    expected = runs[DIRECT][0].metrics
    for name, found in runs.items():
        for run in found:
            if run.metrics != expected:
                raise RuntimeError(f"{name} ended with {run.metrics}, the direct run with {expected}")
