"""What a sweep may compare its jobs by: the metrics of each kind, and paths into a job's result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

Direction = Literal["maximize", "minimize"]

LESS_IS_BETTER = ("loss", "latency", "_ms", "bytes", "energy")
"""A metric whose name holds one of these is minimised unless the sweep says otherwise."""
RESULT = "result."
METRICS = (
    *("val/accuracy", "val/loss", "val/top5"),
    *("train/accuracy", "train/loss", "train/distill_loss", "images_per_second", "lr"),
)
"""Of a training, whose layers have `BY_LAYER` too."""
BY_LAYER = ("grad_norm", "local_lr")
RESULTS = ("result.accuracy", "result.loss", "result.top5", "result.images")
"""Of an evaluation."""
INTEGER_RESULTS = (
    *("result.integer.accuracy", "result.integer.loss", "result.agreement"),
    *("result.float.accuracy", "result.float.loss", "result.model_bytes", "result.energy_joules"),
)
"""Of a quantisation."""
LATENCIES = ("result.model.p50_ms", "result.model.p99_ms", "result.model.images_per_second", "result.model.bytes")
"""Of a benchmark: its model by the fastest engine."""
DEFAULTS = {
    "train": "val/accuracy",
    "evaluate": "result.accuracy",
    "quantize": "result.integer.accuracy",
    "benchmark": "result.model.p50_ms",
}
PATHS: dict[str, tuple[str, ...]] = {"evaluate": RESULTS, "quantize": INTEGER_RESULTS, "benchmark": LATENCIES}
"""Paths into the result, of the kinds whose jobs have no metrics."""

CLOSE = 0.75
"""How much a name must be like a metric's to be taken for a misspelling of it (difflib's ratio)."""
_PATH = re.compile(r"result(\.[^.\s]+)+")


def direction_of(objective: object) -> Direction:
    """The direction in which a metric gets better, by its name."""
    less = isinstance(objective, str) and any(part in objective for part in LESS_IS_BETTER)
    return "minimize" if less else "maximize"


def wrong_objective(kind: str, objective: str) -> str | None:
    """Why jobs of a kind have no such value; None where they may have it.

    An analysis has results of its own for each recipe, and the metrics of its trainings behind the run's name: there
    only the form is checked.
    """
    if objective.startswith(RESULT):
        known = PATHS.get(kind, ())
        if _PATH.fullmatch(objective) and (not known or objective in known):
            return None
        return f"is no path into the result of {_article(kind)}{_meant(objective, known)}"
    if kind == "train":
        known = METRICS
        layered, _, layer = objective.partition("/")
        if objective in known or (layered in BY_LAYER and layer):
            return None
    elif kind == "analyze":
        known = tuple(f"RUN/{name}" for name in METRICS)
        if any(objective.endswith(f"/{name}") for name in METRICS):
            return None
    else:
        known = PATHS.get(kind, ())
    return f"{objective!r} is no metric of {_article(kind)}{_meant(objective, known)}"


def value_at(result: Mapping[str, Any] | None, objective: str) -> float | None:
    """The number that a job's result has under a metric's name, or at the end of a path `result.counts.add`."""
    found: Any = result or {}
    for part in objective.removeprefix(RESULT).split(".") if objective.startswith(RESULT) else [objective]:
        if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            found = found.get(part) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def paths(result: Mapping[str, Any] | None, most: int) -> list[str]:
    """The objectives that a job's result would have served."""
    found = []
    for name, value in (result or {}).items():
        if value_at(result, name) is not None:
            found.append(name)
        elif isinstance(value, dict):
            found += [f"{RESULT}{name}.{part}" for part in value if value_at(value, part) is not None]
    return found[:most]


def _article(kind: str) -> str:
    return {
        "train": "a training",
        "evaluate": "an evaluation",
        "analyze": "an analysis",
        "quantize": "a quantisation",
        "benchmark": "a benchmark",
    }.get(kind, f"a job {kind!r}")


def _meant(objective: str, known: tuple[str, ...]) -> str:
    if not known:
        return "; write it as result.NAME or result.NAME.PART"
    ends = {re.split(r"[/.]", name, maxsplit=1)[-1]: name for name in reversed(known)}
    last = re.sub(r"^(val|valid|validation|test|eval|result)[_/.]", "", objective.lower())
    last = "accuracy" if last == "acc" else last
    near = next(iter(get_close_matches(last, ends, 1, CLOSE)), None)
    asked = "" if near is None else f" (did you mean {ends[near]}?)"
    return f"{asked}; known: {', '.join(known)}, or a path result.NAME"
