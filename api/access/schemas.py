"""Answers about projects, keys, usage and the audit, and the bodies that make them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, field_validator

from addercore.config.fields import Form, Section
from api.schemas import Answer, Time
from jobs.access import accounting
from jobs.access.limits import Limits, limits_of
from jobs.access.projects import NAME
from jobs.access.roles import Role
from jobs.access.tables import AuditEntry as AuditRow
from jobs.access.tables import KeyRow, ProjectRow
from jobs.keeping import Name

ProjectName = Annotated[
    str, Field(pattern=NAME), Form("a lower-case letter, then at most 62 lower-case letters, digits and -")
]


class Use(Answer):
    """What a project uses now."""

    queued_jobs: int
    running_jobs: int
    stored_bytes: int
    """Of artifacts, checkpoints, models and datasets."""
    device_seconds_today: float
    """Since midnight (UTC), on devices of all kinds."""
    streams: int
    """Open streams in the API process that answers."""


class Me(Answer):
    """Who asks, and what the project may and does use."""

    key_id: str | None
    """null where authentication is off."""
    name: str | None
    """Of the key."""
    project: str
    """Name of the project in which the call acts."""
    project_id: str
    role: Role
    limits: Limits
    usage: Use


class Key(Answer):
    """An API key, without its secret."""

    id: str
    name: str
    role: Role
    created_at: Time
    created_by: str | None
    """Id of the key that made it."""
    expires_at: Time | None
    revoked_at: Time | None
    """When it ends or ended before it expires: it was revoked or rotated."""
    last_used_at: Time | None
    """To the minute."""
    replaced_by: str | None
    """Id of the key that a rotation made of it."""

    @classmethod
    def of(cls, row: KeyRow) -> Key:
        """The answer for a row."""
        return cls.model_validate({name: getattr(row, name) for name in Key.model_fields})


class NewKey(Key):
    """A key that was just made. This answer alone has the key itself."""

    key: str
    """`adw_…`. It is stored nowhere: keep it."""

    @classmethod
    def made(cls, row: KeyRow, text: str) -> NewKey:
        """The answer for a row and its key."""
        return cls.model_validate({name: getattr(row, name) for name in Key.model_fields} | {"key": text})


class KeyOrder(Section):
    """What a new key is to be."""

    name: Name
    """What people call it."""
    role: Role = Field(Role.MEMBER, strict=False)
    """What it may do: at most what the key may that makes it."""
    expires_at: str | None = None
    """When it ends (RFC 3339); null: never."""

    @field_validator("expires_at")
    @classmethod
    def _moment(cls, value: str | None) -> str | None:
        if value is not None:
            moment_of(value)
        return value

    @property
    def expires_ms(self) -> int | None:
        """When it ends, in ms since 1970."""
        return None if self.expires_at is None else moment_of(self.expires_at)


def moment_of(text: str) -> int:
    """A moment as RFC 3339 has it, in ms since 1970. Raises ValueError."""

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must name its zone, as in 2026-01-31T00:00:00Z")
    return int(moment.timestamp() * 1000)


class Project(Answer):
    """A project: what belongs together, and what it may use."""

    id: str
    name: str
    limits: Limits
    created_at: Time

    @classmethod
    def of(cls, row: ProjectRow) -> Project:
        """The answer for a row."""
        return cls(id=row.id, name=row.name, limits=limits_of(row), created_at=row.created_at)


class ProjectOrder(Section):
    """What a new project is to be."""

    name: ProjectName
    """By which people call it; no other project has it."""
    limits: Limits = Limits()
    """What it may use."""


class ProjectChange(Section):
    """Changes of a project, as a merge patch (RFC 7396): what is not named stays."""

    name: ProjectName | None = None
    """The new name."""
    limits: Limits | None = None
    """Limits to set; null takes one away, and one that is not named stays."""


class DayUsage(Answer):
    """What a project used of one kind of device on one day."""

    day: str
    """`2026-01-31`, in UTC."""
    device: str
    """`cpu` or `cuda`."""
    device_seconds: float

    @classmethod
    def of(cls, use: accounting.DayUse) -> DayUsage:
        """The answer for a line of the accounts."""
        return cls(day=date_of(use.day), device=use.device, device_seconds=use.seconds)


def date_of(day: int) -> str:
    """A day, counted from 1970, as `2026-01-31`."""

    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


class ProjectUsage(Answer):
    """What a project used, by day and kind of device, and what it has now."""

    project_id: str
    days: list[DayUsage]
    device_seconds: float
    """Of all these days."""
    jobs: dict[str, int]
    """Number of jobs there are, by status."""
    stored_bytes: int


class AuditEntry(Answer):
    """Who did what."""

    id: str
    time: Time
    action: str
    """The call: method and path."""
    object_id: str | None
    key_id: str | None
    """null where authentication was off."""
    key_name: str | None
    address: str | None
    """Of the client."""
    request_id: str
    """`X-Request-ID` of the answer, as in the server's log."""
    detail: str | None

    @classmethod
    def of(cls, row: AuditRow) -> AuditEntry:
        """The answer for a row."""
        return cls.model_validate({name: getattr(row, name) for name in AuditEntry.model_fields})


BODIES: tuple[Any, ...] = (KeyOrder, ProjectOrder, ProjectChange)
"""Bodies of this room that the OpenAPI document has to describe."""
