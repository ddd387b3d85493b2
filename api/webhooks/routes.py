"""`/v1/webhooks`: where a project's events are sent, and what became of each."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Query, Response

from api.access.acting import Acting
from api.http.bodies import NO_BODY, json_response
from api.http.dependencies import After, Document, Limit, ServiceDep, known_id, known_query
from api.http.documents import json_body, location
from api.http.problems import BODY_ERRORS, documented, invalid, validated
from api.schemas import Page
from api.webhooks.schemas import Delivery, Hook, NewHook, WebhookChange, WebhookOrder
from jobs.access import audit
from jobs.webhooks import repository
from jobs.webhooks.addresses import BadUrl, target_of
from jobs.webhooks.tables import DeliveryStatus

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[Depends(known_query)])

WebhookId = Annotated[
    str, Path(max_length=60, description="Id of a webhook.", examples=["webhook_01jv3m8z4k6wq0x9t2rhf5ybcd"])
]
DeliveryId = Annotated[
    str, Path(max_length=60, description="Id of a delivery.", examples=["delivery_01jv3m8z4k6wq0x9t2rhf5ybcd"])
]


def _checked(service: Acting, url: str) -> str:
    try:
        target_of(url, private=service.settings.webhook_allow_private)
    except BadUrl as error:
        raise invalid([("/url", str(error))]) from None
    return url


def _host(url: str) -> str:
    """What the audit tells of a URL: its path may be a secret."""
    return urlsplit(url).netloc


@router.post(
    "/webhooks",
    status_code=201,
    response_model=NewHook,
    summary="Make a webhook",
    openapi_extra=json_body(
        {"$ref": "#/components/schemas/WebhookOrder"},
        {
            "ends of jobs": {
                "name": "ci",
                "url": "https://hooks.example/adder",
                "events": ["job.succeeded", "job.failed"],
            },
            "everything": {"url": "https://hooks.example/adder"},
        },
    ),
    responses={201: location("webhook"), **documented(*BODY_ERRORS, "quota_exceeded")},
)
def make_webhook(service: ServiceDep, response: Response, document: Document) -> NewHook:
    """Makes a webhook: events of the project are sent to its URL, signed as Standard Webhooks has it.

    The answer has the secret `whsec_…`, this once. The URL must be https and lead to a public address, which is checked
    again at every attempt, unless the server allows others (ADDER_WEBHOOK_ALLOW_PRIVATE=1).

    Errors: 400 `bad_json`; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a pointer to each bad
    field (RFC 6901); 429 `quota_exceeded` where the project has as many webhooks as it may (ADDER_MAX_WEBHOOKS).
    """
    order = validated(WebhookOrder, document)
    url = _checked(service, order.url)
    with service.database.write() as session:
        row = repository.create(
            session,
            name=order.name,
            url=url,
            wanted=order.events,
            most=service.settings.max_webhooks,
            by=service.caller.key_id,
        )
        audit.about(session, row.id, _host(url))
    response.headers["Location"] = f"/v1/webhooks/{row.id}"
    return NewHook.made(row)


@router.get("/webhooks", response_model=Page[Hook], summary="List webhooks", responses=documented("bad_cursor"))
def list_webhooks(service: ServiceDep, limit: Limit = 20, after: After = None) -> Response:
    """Returns the webhooks of the project, newest first, without their secrets.

    Errors: 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        found = repository.list_webhooks(session, limit=limit, after=after)
    return json_response(Page[Hook].of([Hook.of(row) for row in found.rows], found.next))


@router.get("/webhooks/{id}", response_model=Hook, summary="Show a webhook", responses=documented("not_found"))
def show_webhook(service: ServiceDep, id: WebhookId) -> Hook:
    """Returns one webhook of the project, without its secret.

    Errors: 404 `not_found` for an unknown webhook.
    """
    with service.database.read() as session:
        return Hook.of(repository.get(session, known_id("webhook", id)))


@router.patch(
    "/webhooks/{id}",
    response_model=Hook,
    summary="Change a webhook",
    openapi_extra=json_body(
        {"$ref": "#/components/schemas/WebhookChange"},
        {"switch it on again": {"enabled": True}, "fewer events": {"events": ["job.failed"]}},
    ),
    responses=documented(*BODY_ERRORS, "not_found"),
)
def change_webhook(service: ServiceDep, id: WebhookId, document: Document) -> Hook:
    """Changes a webhook by a merge patch (RFC 7396).

    While it is switched off, no events are written for it, and what waits is kept. Switched on again, it gets what
    waits. What one answer of 410 has ended comes again by `redeliver` alone.

    Errors: 400 `bad_json`; 404 `not_found` for an unknown webhook; 413 `body_too_large`; 415 `unsupported_media_type`;
    422 `invalid` with a pointer to each bad field (RFC 6901).
    """
    change = validated(WebhookChange, document)
    if change.nulls:
        raise invalid((f"/{name}", "must not be null; leave it out and it stays") for name in change.nulls)
    if change.url is not None:
        _checked(service, change.url)
    changes = {name: getattr(change, name) for name in change.model_fields_set}
    with service.database.write() as session:
        row = repository.change(session, known_id("webhook", id), changes)
        told = [f"url={_host(row.url)}" if name == "url" else f"{name}={value}" for name, value in changes.items()]
        audit.about(session, row.id, ", ".join(told))
        return Hook.of(row)


@router.delete("/webhooks/{id}", status_code=204, summary="Delete a webhook", responses=documented("not_found"))
def delete_webhook(service: ServiceDep, id: WebhookId) -> None:
    """Deletes a webhook with all its deliveries; what still waits for it is not sent any more.

    Errors: 404 `not_found` for an unknown webhook.
    """
    with service.database.write() as session:
        row = repository.remove(session, known_id("webhook", id))
        audit.about(session, row.id, _host(row.url))


@router.post(
    "/webhooks/{id}/rotate",
    response_model=NewHook,
    summary="Rotate a webhook's secret",
    dependencies=NO_BODY,
    responses=documented("not_found", "invalid"),
)
def rotate_secret(
    service: ServiceDep,
    id: WebhookId,
    keep_seconds: Annotated[
        int, Query(ge=0, le=30 * 86_400, description="How long the old secret signs too; a day by default.")
    ] = repository.ROTATION_SECONDS,
) -> NewHook:
    """Gives a webhook a new secret, which the answer has this once. Meanwhile every attempt carries two signatures.

    So a receiver accepts what it gets with either secret, and nothing is lost while it changes over.

    Errors: 404 `not_found` for an unknown webhook; 422 `invalid` for a bad `keep_seconds`.
    """
    with service.database.write() as session:
        return NewHook.made(repository.rotate(session, known_id("webhook", id), keep_seconds))


@router.post(
    "/webhooks/{id}/test",
    status_code=202,
    response_model=Delivery,
    summary="Send a test event",
    dependencies=NO_BODY,
    responses=documented("not_found", "conflict"),
)
def send_test(service: ServiceDep, id: WebhookId) -> Delivery:
    """Sends an event `webhook.test` to one webhook and answers its delivery, whose status tells later how it went.

    Errors: 404 `not_found` for an unknown webhook; 409 `conflict` for one that is switched off.
    """
    with service.database.write() as session:
        made = repository.send_test(session, known_id("webhook", id))
        audit.about(session, id, made.id)
        return Delivery.of(made)


@router.get(
    "/webhooks/{id}/deliveries",
    response_model=Page[Delivery],
    summary="List deliveries",
    responses=documented("not_found", "bad_cursor"),
)
def list_deliveries(
    service: ServiceDep,
    id: WebhookId,
    status: Annotated[DeliveryStatus | None, Query(description="Only deliveries of this status.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Returns what was sent to a webhook and what waits for it, newest first.

    What has ended is kept for ADDER_KEEP_DELIVERIES_DAYS days.

    Errors: 404 `not_found` for an unknown webhook; 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        found = repository.list_deliveries(session, known_id("webhook", id), status=status, limit=limit, after=after)
    return json_response(Page[Delivery].of([Delivery.of(row) for row in found.rows], found.next))


@router.post(
    "/webhooks/{id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=Delivery,
    summary="Send an event again",
    dependencies=NO_BODY,
    responses=documented("not_found", "conflict"),
)
def redeliver(service: ServiceDep, id: WebhookId, delivery_id: DeliveryId) -> Delivery:
    """Sends an event again, with the same `webhook-id` and body and a new timestamp, whatever became of it before.

    Errors: 404 `not_found` for an unknown webhook or delivery; 409 `conflict` for a webhook that is switched off.
    """
    with service.database.write() as session:
        row = repository.redeliver(session, known_id("webhook", id), known_id("delivery", delivery_id))
        audit.about(session, id, row.id)
        return Delivery.of(row)
