"""What a run reports: points of its metrics, its progress, its files. Plain values, no torch."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one series; (name, step) is unique in a run."""

    name: str
    step: int  # optimizer steps done
    epoch: int  # epochs begun, from 1
    value: float
    time_ms: int  # milliseconds since 1970, UTC


@dataclass(frozen=True, slots=True)
class Progress:
    epoch: int  # epochs begun, from 1
    epochs: int
    step: int  # optimizer steps done
    steps: int
    fraction: float  # of all steps
    images_per_second: float | None  # of training, since this process began; null until it is known
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    kind: str  # model, manifest, metrics, summary, curves
    media_type: str
    path: Path
