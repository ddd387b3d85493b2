"""``adder webhooks``: where a project's events are sent, and what became of each."""

from __future__ import annotations

from typing import Annotated

import typer

from adderclient.client import Client
from adderclient.command.access import InProject
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.groups import group
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.objects import Yes
from adderclient.command.output import fields, note, print_json
from adderclient.command.several import confirm
from adderclient.command.terminal import say
from adderclient.formats import ago
from adderclient.records import Delivery, NewWebhook, Webhook

Hook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id, webhook_….")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="TYPE", help="Such as job.failed; repeatable. All of them without it."),
]

HOOKS: tuple[Column[Webhook], ...] = (
    Column("id", lambda one: one.id),
    Column("name", lambda one: one.name, rank=3, cut=True),
    Column("url", lambda one: one.url, rank=1, cut=True),
    Column("state", lambda one: "on" if one.enabled else "off", rank=2),
    Column("made", lambda one: one.created_at, lambda one: ago(one.created_at), rank=4),
    Column("events", lambda one: ", ".join(one.events), extra=True, cut=True),
    Column("off_because", lambda one: one.disabled_reason, extra=True, cut=True),
)
DELIVERIES: tuple[Column[Delivery], ...] = (
    Column("id", lambda one: one.id),
    Column("event", lambda one: one.event, rank=1),
    Column("status", lambda one: one.status, rank=2),
    Column("attempts", lambda one: one.attempts, rank=5, right=True),
    Column("answer", lambda one: one.response_status, rank=4, right=True),
    Column("made", lambda one: one.created_at, lambda one: ago(one.created_at), rank=6),
    Column("reason", lambda one: one.reason, rank=3, cut=True),
    Column("event_id", lambda one: one.event_id, extra=True),
    Column("next_attempt", lambda one: one.next_attempt_at, extra=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(webhooks)


@listing(limit=20, page="/webhooks")
def list_webhooks(client: Client, request: Request, project: InProject = None) -> Listed[Webhook]:
    """List the webhooks of your project, newest first."""
    return Listed(request.read(lambda size, at: client.webhooks.list(limit=size, after=at, project=project)), HOOKS)


def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where events are sent: https://….")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    event: Events = None,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook. Its secret is printed this once, alone on stdout."""
    with connect(url) as client:
        made = client.webhooks.create(address, name=name, events=event, project=project)
    _show_secret(made, as_json)


def _show_secret(made: NewWebhook, as_json: bool) -> None:
    if as_json:
        print_json(made.raw)
    else:
        note(f"{made.id}: sends to {made.url}; its secret is shown this once")
        say(made.secret)


def show(webhook: Hook, url: Url = None, project: InProject = None, as_json: AsJson = False) -> None:
    """Show a webhook, without its secret."""
    with connect(url) as client:
        _show(client.webhooks.get(webhook, project=project), as_json)


def _show(found: Webhook, as_json: bool) -> None:
    if as_json:
        print_json(found.raw)
        return
    state = "on" if found.enabled else f"off. {found.disabled_reason or ''}".strip()
    named = [("id", found.id), ("name", found.name), ("url", found.url), ("events", ", ".join(found.events))]
    fields([*named, ("state", state), ("old secret until", found.old_secret_until), ("made", found.created_at)])


def update(
    webhook: Hook,
    address: Annotated[str | None, typer.Option("--address", help="Where events are sent from now on.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it; empty for none.")] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", metavar="TYPE", help="The types that it gets; repeatable.")
    ] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether it gets events.")] = None,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Change a webhook; what is not named stays."""
    with connect(url) as client:
        changed = client.webhooks.update(
            webhook, url=address, name=name, events=event or None, enabled=on, project=project
        )
    _show(changed, as_json)


def delete(webhook: Hook, yes: Yes = False, url: Url = None, project: InProject = None) -> None:
    """Delete a webhook with all its deliveries. On a terminal it asks first."""
    confirm(f"Delete {webhook} with all its deliveries?", yes)
    with connect(url) as client:
        client.webhooks.delete(webhook, project=project)
    note(f"{webhook} is deleted")


def rotate(
    webhook: Hook,
    keep: Annotated[int, typer.Option(min=0, help="Seconds for which the old secret signs too.")] = 86_400,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new secret; the old one signs too for a day."""
    with connect(url) as client:
        made = client.webhooks.rotate(webhook, keep_seconds=keep, project=project)
    _show_secret(made, as_json)


def send_test(webhook: Hook, url: Url = None, project: InProject = None, as_json: AsJson = False) -> None:
    """Send a test event to a webhook."""
    with connect(url) as client:
        _show_delivery(client.webhooks.test(webhook, project=project), as_json)


def _show_delivery(sent: Delivery, as_json: bool) -> None:
    if as_json:
        print_json(sent.raw)
    else:
        note(f"{sent.event} is on its way; how it went: adder webhooks deliveries {sent.webhook_id}")
        say(sent.id)


@listing(limit=20)
def deliveries(
    client: Client,
    request: Request,
    webhook: Hook,
    status: Annotated[str | None, typer.Option(help="Only those that are pending, delivered or failed.")] = None,
    project: InProject = None,
) -> Listed[Delivery]:
    """List what was sent to a webhook and what waits for it, newest first."""
    fetch = client.webhooks.deliveries
    return Listed(
        request.read(lambda size, at: fetch(webhook, status=status, limit=size, after=at, project=project)), DELIVERIES
    )


def redeliver(
    webhook: Hook,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id, delivery_….")],
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to a webhook again."""
    with connect(url) as client:
        _show_delivery(client.webhooks.redeliver(webhook, delivery, project=project), as_json)


webhooks = group(
    "webhooks",
    "Where events of your project are sent (admins).",
    list_webhooks,
    {
        "create": create,
        "show": show,
        "update": update,
        "delete": delete,
        "rotate": rotate,
        "test": send_test,
        "deliveries": deliveries,
        "redeliver": redeliver,
    },
)
