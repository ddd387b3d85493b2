"""Sweeps and their trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record
from adderclient.records.jobs import FINAL


@dataclass(frozen=True, kw_only=True, repr=False)
class Best(Record):
    """The finished trial with the best value so far."""

    trial: int
    """Its number."""
    job_id: str | None = None
    """None once its job is deleted."""
    parameters: Json = field(default_factory=dict)
    """What it changes in the base spec, by dotted names."""
    value: float
    """Of the sweep's objective."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep(Record):
    """One sweep as the server last saw it."""

    SUMMARY = ("id", "name", "status", "progress")

    id: str
    name: str | None = None
    status: str
    """``running``, ``cancelling``, ``succeeded``, ``failed`` or ``cancelled``."""
    spec: Json = field(default_factory=dict)
    """As it was asked for, with the sweep's own defaults filled in."""
    labels: Json = field(default_factory=dict)
    message: str | None = None
    """Why it ended as it did, where that needs saying."""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Mapping[str, int] = field(default_factory=dict)
    """How many trials are ``done``, ``running``, ``waiting``, ``failed``, ``cancelled``, ``pruned``; the ``total``."""
    best: Best | None = None

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended; a retry of a failed one opens it again."""
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True, repr=False)
class Trial(Record):
    """One child of a sweep."""

    number: int
    """From 0, in order of creation."""
    status: str
    """``waiting``, ``running`` (it has a job that has not ended), ``done``, ``failed``, ``pruned`` or ``cancelled``."""
    parameters: Json = field(default_factory=dict)
    """What it changes in the base spec, by dotted names."""
    job_id: str | None = None
    """None until it is submitted, and once its job is deleted."""
    job_status: str | None = None
    """The status of that job."""
    value: float | None = None
    """Of the sweep's objective: the final one, or where the trial was pruned."""
    seconds: float | None = None
    """For how long its job ran, once that has ended."""
    message: str | None = None
    """Why it ended as it did, where that needs saying."""
