"""Datasets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from adderclient.records.base import Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset(Record):
    """A published dataset, or one version of a user's own."""

    SUMMARY = ("name", "version", "status", "train_size", "validation_size")

    name: str
    id: str | None = None
    version: int | None = None
    """Of a user's dataset, from 1."""
    status: str = ""
    """``ready``, ``missing`` (its files are not on the server), ``validating`` or ``failed``."""
    problems: tuple[str, ...] = ()
    """Why it failed: a sentence each."""
    notes: tuple[str, ...] = ()
    """What was left out, converted or guessed: a sentence each."""
    preview: str | None = None
    """Path of its contact sheet, once it is ready."""
    job_id: str | None = None
    """The job that validates it."""
    same_as: str | None = None
    """The earlier version with the same images and classes; jobs use that one."""
    description: str = ""
    source: str = ""
    """Where its images come from."""
    input_shape: tuple[int, ...] = ()
    """(channels, height, width) as the network sees an image; empty until the dataset is ready."""
    classes: tuple[str, ...] = ()
    """Names of its classes; empty until the dataset is ready."""
    train_size: int | None = None
    """Images that train."""
    validation_size: int | None = None
    """Images that validate."""
    available: bool = False
    """Whether a training can use it now."""
    how_to_get: str = ""
    """What to do where it is not available."""
    bytes: int | None = None
    """Of a user's upload, then of its validated images."""
    created_at: datetime | None = None
