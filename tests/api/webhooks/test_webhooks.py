"""`/v1/webhooks` over real HTTP: what it takes, what it shows, and that the server sends."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
import structlog
from standardwebhooks.webhooks import Webhook as Oracle

from tests.api.conftest import Running
from tests.support.receiver import Receiver, status
from tests.support.servers import wait_until
from tests.support.specs import train_body

URL = "https://hooks.example/adder"


def made(api: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/webhooks", json={"url": URL, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/webhooks/{found['id']}"
    return found


def test_a_job_that_ends_reaches_the_receiver(sending: Running) -> None:
    with Receiver() as receiver, sending.client() as api:
        hook = made(api, url=receiver.url, events=["job.cancelled"])
        job = api.post("/v1/jobs", json=train_body()).json()["id"]
        api.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        wait_until(lambda: len(receiver.taken) == 1, "the event")
        event = Oracle(hook["secret"]).verify(receiver.taken[0].body, receiver.taken[0].headers)
        assert (event["type"], event["data"]["id"]) == ("job.cancelled", job)
        assert api.get(event["data"]["links"]["api"]).json()["id"] == job
        assert api.get(event["data"]["links"]["page"]).status_code == 200
        path = f"/v1/webhooks/{hook['id']}"
        wait_until(lambda: api.get(f"{path}/deliveries").json()["data"][0]["status"] == "delivered", "its end")
        (sent,) = api.get(f"{path}/deliveries", params={"status": "delivered"}).json()["data"]
        assert (sent["event_id"], sent["payload"], sent["response_status"]) == (receiver.taken[0].id, event, 204)
        assert api.get(f"{path}/deliveries", params={"status": "failed"}).json()["data"] == []
        again = api.post(f"{path}/deliveries/{sent['id']}/redeliver")
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        wait_until(lambda: len(receiver.taken) == 2, "it again")
        assert receiver.ids[0] == receiver.ids[1]
        tested = api.post(f"{path}/test")
        assert (tested.status_code, tested.json()["event"]) == (202, "webhook.test")
        wait_until(lambda: len(receiver.taken) == 3, "the test event")
        receiver.answer = status(410)
        api.post(f"{path}/test").raise_for_status()
        wait_until(lambda: not api.get(path).json()["enabled"], "the webhook to be switched off")
        refused = api.post(f"{path}/test")
        assert (refused.status_code, "410 Gone" in refused.json()["detail"]) == (409, True)
        assert "enabled: true" in refused.json()["detail"], "the remedy"
        assert api.patch(path, json={"enabled": True}).json()["disabled_reason"] is None


def test_the_secret_is_in_the_answers_of_creation_and_rotation_alone(lite: Running) -> None:
    with lite.client() as api, structlog.testing.capture_logs() as logs:
        hook = made(api, name="ci")
        path = f"/v1/webhooks/{hook['id']}"
        rotated = api.post(f"{path}/rotate", params={"keep_seconds": 60}).json()
        assert rotated["secret"].startswith("whsec_")
        assert rotated["secret"] != hook["secret"]
        assert rotated["old_secret_until"] is not None
        api.post(f"{path}/test").raise_for_status()
        shown = [
            api.get(path).text,
            api.get("/v1/webhooks").text,
            api.patch(path, json={"name": None}).text,
            api.get(f"{path}/deliveries").text,
            api.get("/v1/audit").text,
            api.get("/webhooks").text,
            api.get(f"/webhooks/{hook['id']}").text,
            json.dumps(logs, default=str),
        ]
        for text in shown:
            assert "whsec_" not in text
        assert api.post(f"{path}/rotate", params={"keep_seconds": 0}).json()["old_secret_until"] is None
        audit = [(entry["action"], entry["object_id"]) for entry in api.get("/v1/audit").json()["data"]]
        assert ("POST /v1/webhooks", hook["id"]) in audit
        assert ("POST /v1/webhooks/{id}/rotate", hook["id"]) in audit
        assert api.delete(path).status_code == 204
        assert api.get(path).status_code == 404
        assert api.get(f"/webhooks/{hook['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer", "why"),
    [
        ({}, "/url", "missing|required|needed"),
        ({"url": "http://hooks.example"}, "/url", "https://"),
        ({"url": "https://127.0.0.1/x"}, "/url", "names the host 127.0.0.1.*ADDER_WEBHOOK_ALLOW_PRIVATE=1"),
        ({"url": "https://2130706433/"}, "/url", "four decimal numbers"),
        ({"url": "https://a:b@hooks.example"}, "/url", "name or a password"),
        ({"url": URL, "events": []}, "/events", "1"),
        ({"url": URL, "events": ["job.done"]}, "/events/0", "job.succeeded"),
        (
            {"url": URL, "events": ["job.failed", "job.failed"]},
            "/events",
            "^must name each type once, got job.failed twice",
        ),
        ({"url": URL, "secret": "whsec_mine"}, "/secret", "unknown|not a field|known"),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(lite_api: httpx2.Client, body: Any, pointer: str, why: str) -> None:
    answer = lite_api.post("/v1/webhooks", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert re.search(why, error["detail"]), error


def test_a_change_is_checked_as_a_new_one_is(lite_api: httpx2.Client) -> None:
    path = f"/v1/webhooks/{made(lite_api, name='ci')['id']}"
    for body in ({"url": "https://10.0.0.1/"}, {"url": None}, {"enabled": None}, {"events": None}, {"secret": "x"}):
        assert lite_api.patch(path, json=body).status_code == 422, body
    changed = lite_api.patch(path, json={"events": ["model.published", "job.failed"], "enabled": False}).json()
    assert (changed["events"], changed["enabled"], changed["name"]) == (["job.failed", "model.published"], False, "ci")


def test_a_project_has_so_many_webhooks_at_most(lite_api: httpx2.Client) -> None:
    for _ in range(20):
        made(lite_api)
    answer = lite_api.post("/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert (answer.json()["limit"], answer.json()["value"], answer.json()["used"]) == ("max_webhooks", 20, 20)
    assert "ADDER_MAX_WEBHOOKS" in answer.json()["detail"]
    first = lite_api.get("/v1/webhooks", params={"limit": 15}).json()
    rest = lite_api.get("/v1/webhooks", params={"after": first["next"]}).json()
    assert (len(first["data"]), len(rest["data"]), rest["next"]) == (15, 5, None)


def test_the_page_lists_webhooks_and_deliveries(lite_api: httpx2.Client) -> None:
    assert "adder webhooks create" in lite_api.get("/webhooks").text
    hook = made(lite_api, name="<b>ci</b>")
    lite_api.post(f"/v1/webhooks/{hook['id']}/test").raise_for_status()
    listed, one = lite_api.get("/webhooks").text, lite_api.get(f"/webhooks/{hook['id']}").text
    assert "&lt;b&gt;ci" in listed
    assert "webhook.test" in one
    assert "/redeliver" in one
    assert lite_api.get("/webhooks", params={"after": "x"}).status_code == 400
