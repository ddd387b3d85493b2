"""Models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Costs(Record):
    """What one image costs a network, counted."""

    operations: Json = field(default_factory=dict)
    """Numbers of additions, multiplications and XNORs: ``add``, ``mul``, ``xnor``."""
    parameter_bytes: int = 0
    """All parameters in numbers of ``data_type``."""
    energy_joules: float = 0.0
    """Of the arithmetic at 45 nm."""
    data_type: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Timed(Record):
    """How long a call took on a processor."""

    engine: str = ""
    precision: str = ""
    batch: int = 1
    """Images of the call."""
    threads: int = 1
    p50_ms: float = 0.0
    """Median, in milliseconds."""
    p99_ms: float = 0.0
    bytes: int = 0
    """Of the file that the engine reads."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Latency(Record):
    """What the newest benchmark of a model measured."""

    job_id: str = ""
    measured_at: datetime | None = None
    processor: str | None = None
    model: Timed | None = None
    """The fastest way to run the model."""
    twin: Timed | None = None
    """The fastest form of its convolutional twin."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Model(Record):
    """A trained, quantised or imported model."""

    SUMMARY = ("id", "name", "arch", "method", "dataset", "metrics", "aliases")

    id: str
    source: str = ""
    """``trained`` or ``imported``."""
    job_id: str | None = None
    """The job that made it; None once that job is deleted."""
    arch: str = ""
    method: str = ""
    dataset: str = ""
    parameters: int = 0
    """Trainable numbers."""
    metrics: Json = field(default_factory=dict)
    """Its accuracy (a share from 0 to 1) and loss, where they are known."""
    format: str = "safetensors"
    """``safetensors``: float weights; ``adder``: an integer model."""
    derived_from: str | None = None
    """The float model that an integer model was made of; it may be deleted since."""
    bytes: int = 0
    sha256: str | None = None
    """Of its file, in hexadecimal."""
    created_at: datetime | None = None
    name: str | None = None
    """A title that somebody gave it."""
    notes: str | None = None
    labels: Json = field(default_factory=dict)
    starred: bool = False
    aliases: tuple[str, ...] = ()
    """Names that stand wherever its id may."""
    costs: Costs | None = None
    """What one image costs it."""
    twin_costs: Costs | None = None
    """What it costs the convolutional network of the same architecture, in numbers of the same type."""
    latency: Latency | None = None
    """As measured; None where no benchmark of it has succeeded."""
    manifest: Json = field(default_factory=dict)
    """Network, preprocessing and classes: what rebuilds the model."""
