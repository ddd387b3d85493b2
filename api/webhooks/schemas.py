"""Answers about webhooks and deliveries, and the bodies that make them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from addercore.config.fields import Form, Section
from api.schemas import Answer, Time
from jobs.keeping import Name
from jobs.webhooks.events import EventType
from jobs.webhooks.tables import MOST_URL, DeliveryStatus, Webhook
from jobs.webhooks.tables import Delivery as DeliveryRow

Url = Annotated[
    str,
    Field(min_length=1, max_length=MOST_URL, examples=["https://hooks.example/adder"]),
    Form(f"a URL of at most {MOST_URL} characters such as https://hooks.example/adder"),
]
EVERY: Final = tuple(EventType)
Wanted = Annotated[list[Annotated[EventType, Field(strict=False)]], Field(min_length=1, max_length=len(EVERY))]


class Hook(Answer):
    """An address to which events of the project are sent. Its secret is not shown."""

    id: str
    name: str | None
    url: str
    events: list[str]
    """Types of the events that it gets."""
    enabled: bool
    disabled_reason: str | None
    """Why the service itself has switched it off: its receiver answered 410."""
    old_secret_until: Time | None
    """Until when the secret from before the last rotation signs too."""
    created_at: Time
    created_by: str | None
    """Id of the key that made it."""

    @classmethod
    def of(cls, row: Webhook) -> Hook:
        """The answer for a row."""
        return cls.model_validate({name: getattr(row, name) for name in Hook.model_fields})


class NewHook(Hook):
    """A webhook with its secret, which this answer alone has."""

    secret: str
    """`whsec_…`, with which the receiver verifies what it gets. It is not shown again: keep it."""

    @classmethod
    def made(cls, row: Webhook) -> NewHook:
        """The answer for a row."""
        return cls.model_validate({name: getattr(row, name) for name in NewHook.model_fields})


class WebhookOrder(Section):
    """What a new webhook is to be."""

    url: Url
    """Where events are sent, by POST: https, to a public address."""
    name: Name | None = None
    """What people call it."""
    events: Wanted = Field(default_factory=lambda: list(EVERY))
    """Types of the events that it gets; all of them by default."""

    @field_validator("events")
    @classmethod
    def _once(cls, value: list[EventType]) -> list[EventType]:
        return once(value)


class WebhookChange(Section):
    """Changes of a webhook, as a merge patch (RFC 7396): what is not named stays."""

    url: Url | None = None
    """Where events are sent from now on, those too that wait."""
    name: Name | None = None
    """What people call it; null takes it away."""
    events: Wanted | None = None
    """Types of the events that it gets."""
    enabled: bool | None = None
    """Whether it gets events."""

    @field_validator("events")
    @classmethod
    def _once(cls, value: list[EventType] | None) -> list[EventType] | None:
        return None if value is None else once(value)

    @property
    def nulls(self) -> list[str]:
        """Fields that are null and must not be."""
        return [name for name in sorted(self.model_fields_set - {"name"}) if getattr(self, name) is None]


def once(value: list[EventType]) -> list[EventType]:
    """The types in their usual order. Raises PydanticCustomError where one stands twice."""
    twice = next((one for one in value if value.count(one) > 1), None)
    if twice is not None:
        raise PydanticCustomError("twice", "must name each type once, got {twice} twice", {"twice": str(twice)})
    return [one for one in EVERY if one in value]


class Delivery(Answer):
    """One event on its way to one webhook."""

    id: str
    webhook_id: str
    event_id: str
    """The header `webhook-id` of every attempt: by it a receiver knows what it has had before."""
    event: str
    """The event's type."""
    status: DeliveryStatus
    attempts: int
    """Attempts that have ended, since it was made or sent again."""
    next_attempt_at: Time | None
    """When it is tried next; null once it is delivered or given up."""
    response_status: int | None
    """HTTP status of the last answer; null where there was none."""
    reason: str | None
    """Why the last attempt failed."""
    created_at: Time
    finished_at: Time | None
    payload: dict[str, Any]
    """What is sent."""

    @classmethod
    def of(cls, row: DeliveryRow) -> Delivery:
        """The answer for a row."""
        found = {name: getattr(row, name) for name in Delivery.model_fields if name != "payload"}
        return cls.model_validate(found | {"payload": json.loads(row.body)})


class WebhookEventData(Answer):
    """Which object an event is about; further fields depend on the type."""

    id: str
    """Of the job, sweep, dataset or model."""
    links: dict[str, str]
    """`api` and, where it has one, `page`: paths below the service's address."""


class WebhookEvent(Answer):
    """What a webhook is sent, in the format of Standard Webhooks."""

    type: EventType | Literal["webhook.test"]
    timestamp: str
    """When it happened (RFC 3339)."""
    data: WebhookEventData


BODIES: tuple[Any, ...] = (WebhookOrder, WebhookChange)
"""Bodies of this room that the OpenAPI document has to describe."""
