"""The tables of webhooks: where a project's events go, and each event on its way to one of them."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.access.tables import PROJECT_ID, project_of_transaction
from jobs.table_base import Base, one_of

MOST_URL = 2048
MOST_REASON = 200


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """Not taken yet; it will be tried at `next_attempt_at`."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """It is not tried again by itself: all attempts failed, or the receiver is gone (410)."""


class Webhook(Base):
    """An address to which events of a project are sent."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction)
    name: Mapped[str | None] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(String(MOST_URL))
    events: Mapped[list[str]]
    """Types of the events that it gets."""
    secret: Mapped[str] = mapped_column(String(100))
    """`whsec_…`. It signs, so it is stored itself and not a hash of it."""
    old_secret: Mapped[str | None] = mapped_column(String(100))
    """The secret before the last rotation, which signs too until `old_secret_until`."""
    old_secret_until: Mapped[int | None]
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(String(MOST_REASON))
    """Why the service itself has switched it off."""
    created_at: Mapped[int]
    created_by: Mapped[str | None] = mapped_column(String(40))
    """Id of the key that made it; NULL where authentication was off."""

    __table_args__ = (
        CheckConstraint("(old_secret IS NULL) = (old_secret_until IS NULL)", name="old_secret"),
        Index("ix_webhooks_project_id", "project_id", "id"),
    )


class Delivery(Base):
    """One event for one webhook."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT_ID, default=project_of_transaction)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(String(40))
    """The `webhook-id` of every attempt. All webhooks of a project get an event under the same id."""
    event: Mapped[str] = mapped_column(String(30))
    """The event's type."""
    body: Mapped[str] = mapped_column(Text)
    """What is sent and signed, to the byte."""
    status: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int]
    """Attempts that have ended."""
    next_attempt_at: Mapped[int | None]
    """When it is due. While somebody sends it, when it falls due again should the sender be lost."""
    fence: Mapped[int] = mapped_column(default=0)
    """Rises with every claim: a sender writes how an attempt ended only where it equals its own."""
    response_status: Mapped[int | None]
    """HTTP status of the last answer."""
    reason: Mapped[str | None] = mapped_column(String(MOST_REASON))
    """Why the last attempt failed."""
    created_at: Mapped[int]
    finished_at: Mapped[int | None]

    __table_args__ = (
        CheckConstraint(one_of("status", DeliveryStatus), name="status"),
        CheckConstraint("(next_attempt_at IS NOT NULL) = (status = 'pending')", name="due"),
        CheckConstraint("(finished_at IS NULL) = (status = 'pending')", name="finished"),
        Index(
            "ix_deliveries_due",
            "webhook_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index("ix_deliveries_webhook_id", "webhook_id", "id"),
        Index("ix_deliveries_finished_at", "finished_at"),
    )
