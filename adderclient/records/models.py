"""Models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record


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
    manifest: Json = field(default_factory=dict)
    """Network, preprocessing and classes: what rebuilds the model."""
