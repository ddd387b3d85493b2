"""`adder webhooks` against the real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from adderclient import Client, InvalidRequestError
from tests.adderclient.conftest import Adder
from tests.api.conftest import Running


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What the server logs. It runs in this process, and its lines would stand among those of the command."""
    with capture_logs() as found:
        yield found


def test_a_webhook_is_made_changed_tried_and_deleted(
    site: Running, adder: Adder, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDER_URL", site.url)
    refused = adder("webhooks", "create", "https://127.0.0.1/x")
    assert (refused.returncode, "ADDER_WEBHOOK_ALLOW_PRIVATE" in refused.stderr) == (2, True)
    made = adder("webhooks", "create", "https://hooks.example/x", "--name", "ci", "--event", "job.failed")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("whsec_"), "the secret, alone on stdout"
    (listed,) = json.loads(adder("webhooks", "--json").stdout)["data"]
    hook = listed["id"]
    assert (listed["name"], listed["events"], "secret" in listed) == ("ci", ["job.failed"], False)
    changed = adder("webhooks", "update", hook, "--name", "", "--event", "job.paused", "--off", "--json")
    assert [json.loads(changed.stdout)[key] for key in ("name", "events", "enabled")] == [None, ["job.paused"], False]
    off = adder("webhooks", "test", hook)
    assert off.returncode != 0
    assert "switched off" in off.stderr
    assert adder("webhooks", "update", hook, "--on").returncode == 0
    delivery = adder("webhooks", "test", hook).stdout.strip()
    (sent,) = json.loads(adder("webhooks", "deliveries", hook, "--json").stdout)["data"]
    assert (sent["id"], sent["event"], sent["status"]) == (delivery, "webhook.test", "pending")
    assert adder("webhooks", "redeliver", hook, delivery).stdout.strip() == delivery
    rotated = adder("webhooks", "rotate", hook, "--keep", "60").stdout
    assert rotated.startswith("whsec_")
    assert rotated != made.stdout
    shown = adder("webhooks", "show", hook)
    assert "https://hooks.example/x" in shown.stdout
    assert "whsec_" not in shown.stdout
    assert adder("webhooks", "delete", hook, "--yes").returncode == 0
    assert json.loads(adder("webhooks", "list", "--json").stdout)["data"] == []
    assert "whsec_" not in json.dumps(logs, default=str)


def test_the_library_does_the_same(real: Client) -> None:
    made = real.webhooks.create("https://hooks.example/x")
    assert made.secret.startswith("whsec_")
    assert len(made.events) == 8
    assert real.webhooks.get(made.id).url == made.url
    sent = real.webhooks.test(made.id)
    assert [one.id for one in real.webhooks.deliveries(made.id, status="pending")] == [sent.id]
    with pytest.raises(InvalidRequestError, match="url"):
        real.webhooks.update(made.id, url="http://hooks.example")
    real.webhooks.delete(made.id)
    assert list(real.webhooks.list()) == []
