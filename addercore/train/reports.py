"""What a run reports: points of its metrics, its progress, its files. Plain values, no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["reading_data", "calibrating", "training", "validating", "measuring", "storing"]
"""What a run does just now."""


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric. A run has at most one point for each name and step.

    Attributes:
        name: the metric, such as `train/loss`, `val/accuracy` (a fraction, 0…1), `lr`, `images_per_second`,
            `grad_norm/LAYER` or `local_lr/LAYER`.
        step: optimizer steps done.
        epoch: epochs begun, from 1.
        value: finite.
        time_ms: when it was computed, in milliseconds since 1970 (UTC).
    """

    name: str
    step: int
    epoch: int
    value: float
    time_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: epochs begun, from 1.
        epochs: epochs of the whole run.
        step: optimizer steps done.
        steps: optimizer steps of the whole run.
        fraction: of the whole run, 0…1.
        images_per_second: speed of the training steps of this process, without validations; None before the first.
        eta_seconds: time left at that speed; None before the first step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    images_per_second: float | None
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run leaves behind.

    Attributes:
        name: such as `model.safetensors`.
        kind: model, manifest, metrics, summary or curves; result, table or figure of an analysis.
        media_type: as in HTTP's Content-Type.
        path: where it lies.
    """

    name: str
    kind: str
    media_type: str
    path: Path
