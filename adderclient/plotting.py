"""Learning curves, drawn with matplotlib where that is installed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adderclient.errors import AdderClientError

Series = Mapping[str, tuple[Sequence[int | None], Sequence[float | None]]]
USUAL = ("loss", "accuracy")
"""Kinds of metrics that are drawn where there are several: those of the curves that a training publishes."""


def curves(series: Series, axes: Sequence[Any] | None, label: str | None) -> list[Any]:
    """Draws series of (steps, values) by their names, one kind (``loss`` of ``val/loss``) into each of the axes.

    Raises:
        AdderClientError: matplotlib is not installed, there is nothing to draw, or the axes are too few.
    """
    kinds = list(dict.fromkeys(map(_kind, series)))
    kinds = [kind for kind in USUAL if kind in kinds] or kinds
    if not kinds:
        raise AdderClientError("there are no metrics to draw: the job has none of these names (yet)")
    if axes is None:
        axes = _new_axes(len(kinds))
    if len(axes) < len(kinds):
        raise AdderClientError(f"{len(axes)} axes are too few for {', '.join(kinds)}: give {len(kinds)}")
    for kind, one in zip(kinds, axes, strict=False):
        for name, (steps, values) in series.items():
            if _kind(name) == kind:
                numbers = [math.nan if value is None else value for value in values]
                xs = [0 if step is None else step for step in steps]
                one.plot(xs, numbers, label=f"{label} {name}" if label else name, marker="." if len(xs) < 50 else None)
        one.set_xlabel("step")
        one.set_ylabel(kind)
        one.legend()
    return list(axes[: len(kinds)])


def _kind(name: str) -> str:
    return name.partition("/")[0] if name.startswith(("grad_norm/", "local_lr/")) else name.rpartition("/")[2]


def _new_axes(count: int) -> list[Any]:
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError:
        raise AdderClientError(
            "plots are drawn with matplotlib, which is not installed here: pip install matplotlib"
        ) from None
    _, axes = pyplot.subplots(1, count, figsize=(5 * count, 3.5), squeeze=False, layout="constrained")
    return list(axes[0])
