"""Which deliveries are due, who sends them, and how an attempt ended.

Any number of processes may send. A claim moves the delivery's time to the end of a lease and raises its fence: nobody
else finds it due meanwhile, and a sender that is lost leaves it to fall due by itself. So an event is sent at least
once, always under the same id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select, update

from jobs.access.scope import ServiceTransaction
from jobs.tables import Delivery, DeliveryStatus, Webhook
from jobs.webhooks.tables import MOST_REASON

S: Final = 1000
MINUTE: Final = 60 * S
HOUR: Final = 60 * MINUTE
DELAYS_MS: Final = (
    *(0, 5 * S, 5 * MINUTE, 30 * MINUTE),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
)
"""How long after the attempt before each attempt is made, in ms; the first one follows the event."""
LEASE_MS: Final = 45 * S
"""How long a claim holds. An attempt takes 15 s at most."""
GONE: Final = 410


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process sends now."""

    id: str
    fence: int
    webhook_id: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """The newest first; two while a rotation is under way."""
    event_id: str
    event: str
    body: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    response_status: int | None
    """None: there was no answer."""
    reason: str | None = None
    """Why it failed; None: the receiver has taken the event."""


def due_webhooks(session: ServiceTransaction, now: int, without: Collection[str], limit: int) -> Sequence[str]:
    """The enabled webhooks that have something due, those that wait longest first.

    Args:
        session: a transaction of the service.
        now: in ms.
        without: webhooks that are not asked for.
        limit: number of webhooks.
    """
    query = (
        select(Delivery.webhook_id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.status == DeliveryStatus.PENDING, Delivery.next_attempt_at <= now, Webhook.enabled)
        .group_by(Delivery.webhook_id)
        .order_by(func.min(Delivery.next_attempt_at))
        .limit(limit)
    )
    if without:
        query = query.where(Delivery.webhook_id.not_in(without))
    return session.execute(query).scalars().all()


def claim(session: ServiceTransaction, webhook_id: str, now: int, limit: int) -> list[Claimed]:
    """Takes deliveries of a webhook that are due, oldest first. Those that another process takes are left out."""
    hook = session.get(Webhook, webhook_id)
    if hook is None or not hook.enabled:
        return []
    secrets = [hook.secret]
    if hook.old_secret is not None and hook.old_secret_until is not None and hook.old_secret_until > now:
        secrets.append(hook.old_secret)
    due = (
        select(Delivery)
        .where(
            Delivery.webhook_id == webhook_id,
            Delivery.status == DeliveryStatus.PENDING,
            Delivery.next_attempt_at <= now,
        )
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = []
    for row in session.execute(due).scalars().all():
        row.fence += 1
        row.next_attempt_at = now + LEASE_MS
        taken.append(
            Claimed(row.id, row.fence, webhook_id, hook.url, tuple(secrets), row.event_id, row.event, row.body)
        )
    return taken


def conclude(session: ServiceTransaction, claimed: Claimed, outcome: Outcome, now: int) -> DeliveryStatus | None:
    """Writes how an attempt ended, and when the next one is due.

    Returns:
        Where the delivery stands now; None where it is another's by now, or gone.
    """
    if outcome.response_status == GONE:
        _end_webhook(session, claimed.webhook_id, now)  # first its row, then its deliveries: as whoever deletes it
    row = session.execute(
        select(Delivery)
        .where(Delivery.id == claimed.id, Delivery.fence == claimed.fence)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if row is None or (row.status != DeliveryStatus.PENDING and outcome.response_status != GONE):
        return None
    row.attempts += 1
    row.response_status = outcome.response_status
    row.reason = None if outcome.reason is None else outcome.reason[:MOST_REASON]
    if outcome.reason is None:
        row.status, row.next_attempt_at, row.finished_at = DeliveryStatus.DELIVERED, None, now
    elif outcome.response_status == GONE or row.attempts >= len(DELAYS_MS):
        row.status, row.next_attempt_at, row.finished_at = DeliveryStatus.FAILED, None, now
    else:
        row.next_attempt_at = now + DELAYS_MS[row.attempts]
    return DeliveryStatus(row.status)


def _end_webhook(session: ServiceTransaction, webhook_id: str, now: int) -> None:
    """Switches a webhook off whose receiver says that it is gone, and ends what waits for it."""
    gone = "The receiver answered 410 Gone."
    session.execute(update(Webhook).where(Webhook.id == webhook_id).values(enabled=False, disabled_reason=gone))
    session.execute(
        update(Delivery)
        .where(Delivery.webhook_id == webhook_id, Delivery.status == DeliveryStatus.PENDING)
        .values(status=DeliveryStatus.FAILED, next_attempt_at=None, finished_at=now, reason=gone)
    )


def release(session: ServiceTransaction, claimed: Sequence[Claimed], now: int) -> None:
    """Gives deliveries back whose attempt was broken off, so that the next sender need not wait for the lease."""
    for one in claimed:
        session.execute(
            update(Delivery)
            .where(Delivery.id == one.id, Delivery.fence == one.fence, Delivery.status == DeliveryStatus.PENDING)
            .values(next_attempt_at=now)
        )
