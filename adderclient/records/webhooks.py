"""Where a project's events are sent, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adderclient.records.base import Json, Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Webhook(Record):
    """An address to which events of a project are sent."""

    SUMMARY = ("id", "name", "url", "enabled")

    id: str
    name: str | None = None
    url: str = ""
    events: tuple[str, ...] = ()
    """Types of the events that it gets."""
    enabled: bool = False
    disabled_reason: str | None = None
    """Why the service itself has switched it off: its receiver answered 410."""
    old_secret_until: datetime | None = None
    """Until when the secret from before the last rotation signs too."""
    created_at: datetime | None = None
    created_by: str | None = None
    """Id of the key that made it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NewWebhook(Webhook):
    """A webhook with its secret: the answers of creation and rotation alone have it."""

    secret: str
    """``whsec_…``, with which the receiver verifies what it gets."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Delivery(Record):
    """One event on its way to one webhook."""

    SUMMARY = ("id", "event", "status", "attempts", "response_status")

    id: str
    webhook_id: str = ""
    event_id: str = ""
    """The header ``webhook-id`` of every attempt."""
    event: str = ""
    """The event's type."""
    status: str = ""
    """``pending``, ``delivered`` or ``failed``."""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    """None once it is delivered or given up."""
    response_status: int | None = None
    """HTTP status of the last answer; None where there was none."""
    reason: str | None = None
    """Why the last attempt failed."""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    payload: Json = field(default_factory=dict)
    """What is sent."""
