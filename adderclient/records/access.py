"""Who may what: keys, projects, what they used, and the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Me(Record):
    """The key that asks, and what its project may and does use."""

    SUMMARY = ("name", "project", "role")

    key_id: str | None = None
    """None where the service needs no keys."""
    name: str | None = None
    """Of the key."""
    project: str
    """Name of the project in which calls act."""
    project_id: str = ""
    role: str
    """``viewer``, ``member``, ``admin`` or ``operator``."""
    limits: Json = field(default_factory=dict)
    """By their names; None where there is none."""
    usage: Json = field(default_factory=dict)
    """Jobs, stored bytes, device seconds of today, streams."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Key(Record):
    """A key, without its secret."""

    SUMMARY = ("id", "name", "role", "expires_at", "revoked_at")

    id: str
    name: str = ""
    role: str = ""
    created_at: datetime | None = None
    created_by: str | None = None
    """Id of the key that made it."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    """When it ends or ended before it expires: it was revoked or rotated."""
    last_used_at: datetime | None = None
    """To the minute."""
    replaced_by: str | None = None
    """Id of the key that a rotation made of it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NewKey(Key):
    """A key that was just made: this answer alone has the key itself."""

    key: str
    """``adw_…``; the service keeps only a hash of it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Project(Record):
    """Jobs, models, datasets and keys that belong together."""

    id: str
    name: str = ""
    limits: Json = field(default_factory=dict)
    """By their names; None where there is none."""
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class DayUsage(Record):
    """What a project used of one kind of device on one day."""

    day: str
    """``2026-01-31``, in UTC."""
    device: str = ""
    """``cpu`` or ``cuda``."""
    device_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, repr=False)
class ProjectUsage(Record):
    """What a project used, and what it has now."""

    project_id: str
    days: tuple[DayUsage, ...] = ()
    device_seconds: float = 0.0
    """Of all these days."""
    jobs: Json = field(default_factory=dict)
    """Number of jobs by status."""
    stored_bytes: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditEntry(Record):
    """Who did what."""

    SUMMARY = ("time", "key_name", "action", "object_id")

    id: str
    time: datetime | None = None
    action: str = ""
    """The call: method and path."""
    object_id: str | None = None
    key_id: str | None = None
    """None where the service needed no keys."""
    key_name: str | None = None
    address: str | None = None
    """Of the client."""
    request_id: str = ""
    """``X-Request-ID`` of the answer, as in the server's log."""
    detail: str | None = None
