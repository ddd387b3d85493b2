"""The metric that a sweep optimises: whether a training reports it, and whether less of it is better."""

from __future__ import annotations

from typing import Final, Literal

from addercore.config.schema import nearest

Direction = Literal["maximize", "minimize"]

METRICS: Final = (
    "val/accuracy",
    "val/loss",
    "val/top5",
    "train/accuracy",
    "train/loss",
    "lr",
    "images_per_second",
)
"""What a training reports as a whole, the likeliest objective first."""
PER_LAYER: Final = ("grad_norm/", "local_lr/")
"""What it reports for each layer: `grad_norm/<layer>`."""
LESS_IS_BETTER: Final = ("loss", "latency", "_ms", "bytes", "energy")


def direction_of(metric: str) -> Direction:
    """Which end of a metric is the better one, by its name."""
    return "minimize" if any(word in metric for word in LESS_IS_BETTER) else "maximize"


def trouble_with(metric: str) -> str | None:
    """Why a metric cannot be the objective, with the remedy; None where a training reports it."""
    if metric in METRICS or any(metric.startswith(start) and metric != start for start in PER_LAYER):
        return None
    meant = nearest(metric, METRICS)
    remedy = "" if meant is None else f"did you mean {meant}? "
    layers = ", ".join(f"{start}<layer>" for start in PER_LAYER)
    return f"is no metric of a training, got {metric!r}: {remedy}Known are {', '.join(METRICS)}, {layers}"
