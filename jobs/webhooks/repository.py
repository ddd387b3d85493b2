"""The webhooks of a project and their deliveries, as its admins see and change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, select

from jobs.access import limits
from jobs.access.scope import OwnTransaction
from jobs.errors import Conflict, NotFound, QuotaExceeded
from jobs.ids import new_id
from jobs.repository.core import now
from jobs.repository.paging import Page, page
from jobs.tables import Delivery, DeliveryStatus, Webhook
from jobs.webhooks import events
from jobs.webhooks.signing import new_secret

ROTATION_SECONDS: Final = 86_400
"""How long the old secret signs beside the new one, where nothing else is asked for."""
LIMIT: Final = "max_webhooks"


def create(
    session: OwnTransaction, *, name: str | None, url: str, wanted: Sequence[str], most: int, by: str | None
) -> Webhook:
    """Makes a webhook of the transaction's project. Its row has the secret, which nobody is shown again.

    Args:
        session: a transaction of the project.
        name: what people call it.
        url: a checked URL (`addresses.target_of`).
        wanted: types of the events that it gets.
        most: webhooks that a project may have.
        by: id of the key that makes it.

    Raises:
        QuotaExceeded: the project has so many already.
    """
    limits.hold(session)
    count = int(session.execute(select(func.count()).select_from(Webhook)).scalar_one())
    if count >= most:
        raise QuotaExceeded(LIMIT, most, count, f"{count} webhooks are there. Delete one, or raise ADDER_MAX_WEBHOOKS")
    row = Webhook(
        id=new_id("webhook"),
        name=name,
        url=url,
        events=list(wanted),
        secret=new_secret(),
        old_secret=None,
        old_secret_until=None,
        enabled=True,
        disabled_reason=None,
        created_at=now(session),
        created_by=by,
    )
    session.add(row)
    session.flush()
    return row


def get(session: OwnTransaction, webhook_id: str, *, lock: bool = False) -> Webhook:
    """A webhook of the project. Raises NotFound.

    Args:
        session: a transaction of the project.
        webhook_id: its id.
        lock: whether nobody else may change it until the transaction ends.
    """
    row = session.get(Webhook, webhook_id, with_for_update=True if lock else None, populate_existing=lock)
    if row is None:
        raise NotFound("webhook", webhook_id)
    return row


def list_webhooks(session: OwnTransaction, *, limit: int, after: str | None) -> Page:
    """The webhooks of the project, newest first."""
    return page(session, select(Webhook), Webhook.id, {"list": "webhooks"}, limit, after)


def change(session: OwnTransaction, webhook_id: str, changes: Mapping[str, Any]) -> Webhook:
    """Changes those of `name`, `url`, `events` and `enabled` that are named. Raises NotFound.

    What waits for a webhook that is switched off is sent once it is switched on; new events are not written for it.
    """
    row = get(session, webhook_id, lock=True)
    for field, value in changes.items():
        setattr(row, field, value)
    if changes.get("enabled"):
        row.disabled_reason = None
    session.flush()
    return row


def remove(session: OwnTransaction, webhook_id: str) -> Webhook:
    """Deletes a webhook with its deliveries, those too that wait. Raises NotFound."""
    row = get(session, webhook_id, lock=True)
    session.delete(row)
    session.flush()
    return row


def rotate(session: OwnTransaction, webhook_id: str, keep_seconds: int) -> Webhook:
    """Gives a webhook a new secret. The old one signs beside it for a while; one from before that ends now.

    Raises:
        NotFound: there is no such webhook.
    """
    row = get(session, webhook_id, lock=True)
    stamp = now(session)  # before any change: a query flushes, and half a change breaks the constraints
    row.old_secret, row.old_secret_until = (row.secret, stamp + 1000 * keep_seconds) if keep_seconds else (None, None)
    row.secret = new_secret()
    session.flush()
    return row


def send_test(session: OwnTransaction, webhook_id: str) -> Delivery:
    """Writes an event `webhook.test` for one webhook.

    Raises:
        NotFound: there is no such webhook.
        Conflict: it is switched off.
    """
    row = get(session, webhook_id, lock=True)
    _require_enabled(row)
    data = {"id": row.id, "links": {"api": f"/v1/webhooks/{row.id}"}}
    made = events.add(session, row, new_id("event"), events.TEST, data)
    return session.get_one(Delivery, made)


def _require_enabled(row: Webhook) -> None:
    if not row.enabled:
        why = f" {row.disabled_reason}" if row.disabled_reason else ""
        raise Conflict(f"The webhook {row.id} is switched off.{why} Switch it on first: PATCH it with enabled: true.")


def list_deliveries(
    session: OwnTransaction, webhook_id: str, *, status: DeliveryStatus | None = None, limit: int, after: str | None
) -> Page:
    """The deliveries of a webhook, newest first. Raises NotFound."""
    get(session, webhook_id)
    query = select(Delivery).where(Delivery.webhook_id == webhook_id)
    if status is not None:
        query = query.where(Delivery.status == status)
    scope = {"list": "deliveries", "webhook": webhook_id, "status": status}
    return page(session, query, Delivery.id, scope, limit, after)


def redeliver(session: OwnTransaction, webhook_id: str, delivery_id: str) -> Delivery:
    """Sends an event again under its old id, with all its attempts anew. What is under way is no longer waited for.

    Raises:
        NotFound: there is no such webhook, or it has no such delivery.
        Conflict: the webhook is switched off.
    """
    _require_enabled(get(session, webhook_id, lock=True))
    row = session.get(Delivery, delivery_id, with_for_update=True, populate_existing=True)
    if row is None or row.webhook_id != webhook_id:
        raise NotFound("delivery", delivery_id)
    stamp = now(session)
    row.status, row.next_attempt_at, row.finished_at = DeliveryStatus.PENDING, stamp, None
    row.attempts, row.fence, row.reason, row.response_status = 0, row.fence + 1, None, None
    session.flush()
    return row
