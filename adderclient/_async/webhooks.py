"""``client.webhooks``: where a project's events are sent, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.records import Delivery, NewWebhook, Page, Webhook
from adderclient.transport import given


class AsyncWebhooks:
    """The webhooks of a project, for its admins.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, :class:`~adderclient.AuthenticationError` where the key may not do it, and :class:`~adderclient.ApiError`
    where the server refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self, *, limit: int | None = None, after: str | None = None, project: str | None = None
    ) -> Page[Webhook]:
        """Asks for one page of the webhooks, newest first.

        Args:
            limit: webhooks on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            project: name or id of another project than one's own (operators).

        Returns:
            The page.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        params = given(limit=limit, after=after, project=project)
        return Page.from_json(await self._transport.json("GET", "/v1/webhooks", params=params), Webhook.from_json)

    async def get(self, id: str, *, project: str | None = None) -> Webhook:
        """Asks for one webhook.

        Args:
            id: the webhook's id, ``webhook_…``.
            project: name or id of another project than one's own (operators).

        Returns:
            The webhook, without its secret.

        Raises:
            NotFoundError: there is no such webhook.
        """
        return Webhook.from_json(await self._transport.json("GET", _path(id), params=given(project=project)))

    async def create(
        self,
        url: str,
        *,
        name: str | None = None,
        events: Sequence[str] | None = None,
        project: str | None = None,
    ) -> NewWebhook:
        """Makes a webhook.

        Args:
            url: where events are sent: https, to a public address unless the server allows others.
            name: what people call it.
            events: types such as ``job.failed``; None: all of them.
            project: name or id of another project than one's own (operators).

        Returns:
            The webhook with its secret, which is shown this once.

        Raises:
            InvalidRequestError: the URL leads where no webhook may lead, or there is no such type.
        """
        body: dict[str, Any] = {"url": url, "name": name}
        if events is not None:
            body["events"] = [*events]
        answer = await self._transport.json("POST", "/v1/webhooks", params=given(project=project), json=body)
        return NewWebhook.from_json(answer)

    async def update(
        self,
        id: str,
        *,
        url: str | None = None,
        name: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
        project: str | None = None,
    ) -> Webhook:
        """Changes a webhook.

        Args:
            id: the webhook's id, ``webhook_…``.
            url: where events are sent from now on, those too that wait; None: it stays.
            name: what people call it; empty: nothing any more; None: it stays.
            events: types of the events that it gets; None: they stay.
            enabled: whether it gets events; None: it stays as it is.
            project: name or id of another project than one's own (operators).

        Returns:
            The changed webhook.

        Raises:
            NotFoundError: there is no such webhook.
            InvalidRequestError: the URL leads where no webhook may lead, or there is no such type.
        """
        wanted = {"url": url, "events": None if events is None else [*events], "enabled": enabled}
        body: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
        if name is not None:
            body["name"] = name or None
        answer = await self._transport.json("PATCH", _path(id), params=given(project=project), json=body)
        return Webhook.from_json(answer)

    async def delete(self, id: str, *, project: str | None = None) -> None:
        """Deletes a webhook with all its deliveries; what still waits for it is not sent.

        Args:
            id: the webhook's id, ``webhook_…``.
            project: name or id of another project than one's own (operators).

        Raises:
            NotFoundError: there is no such webhook.
        """
        await self._transport.request("DELETE", _path(id), params=given(project=project), repeatable=True)

    async def rotate(self, id: str, *, keep_seconds: int | None = None, project: str | None = None) -> NewWebhook:
        """Gives a webhook a new secret. Meanwhile every attempt carries a signature of each.

        Args:
            id: the webhook's id, ``webhook_…``.
            keep_seconds: how long the old secret signs too; None: a day.
            project: name or id of another project than one's own (operators).

        Returns:
            The webhook with its new secret, which is shown this once.

        Raises:
            NotFoundError: there is no such webhook.
        """
        params = given(keep_seconds=keep_seconds, project=project)
        return NewWebhook.from_json(await self._transport.json("POST", f"{_path(id)}/rotate", params=params))

    async def test(self, id: str, *, project: str | None = None) -> Delivery:
        """Sends an event ``webhook.test`` to a webhook.

        Args:
            id: the webhook's id, ``webhook_…``.
            project: name or id of another project than one's own (operators).

        Returns:
            Its delivery, which is still under way.

        Raises:
            NotFoundError: there is no such webhook.
            ConflictError: it is switched off.
        """
        answer = await self._transport.json("POST", f"{_path(id)}/test", params=given(project=project))
        return Delivery.from_json(answer)

    async def deliveries(
        self,
        id: str,
        *,
        status: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        project: str | None = None,
    ) -> Page[Delivery]:
        """Asks for one page of what was sent to a webhook and what waits for it, newest first.

        Args:
            id: the webhook's id, ``webhook_…``.
            status: only deliveries that are ``pending``, ``delivered`` or ``failed``.
            limit: deliveries on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            project: name or id of another project than one's own (operators).

        Returns:
            The page.

        Raises:
            NotFoundError: there is no such webhook.
            InvalidRequestError: the cursor or the status is none.
        """
        params = given(status=status, limit=limit, after=after, project=project)
        answer = await self._transport.json("GET", f"{_path(id)}/deliveries", params=params)
        return Page.from_json(answer, Delivery.from_json)

    async def redeliver(self, id: str, delivery: str, *, project: str | None = None) -> Delivery:
        """Sends an event again, under its old ``webhook-id``.

        Args:
            id: the webhook's id, ``webhook_…``.
            delivery: the delivery's id, ``delivery_…``.
            project: name or id of another project than one's own (operators).

        Returns:
            The delivery, which is under way again.

        Raises:
            NotFoundError: there is no such webhook or delivery.
            ConflictError: the webhook is switched off.
        """
        path = f"{_path(id)}/deliveries/{segment(delivery)}/redeliver"
        return Delivery.from_json(await self._transport.json("POST", path, params=given(project=project)))


def _path(id: str) -> str:
    return f"/v1/webhooks/{segment(id)}"
