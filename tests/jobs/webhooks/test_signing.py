"""Signatures, against the library of Standard Webhooks."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jobs.webhooks.signing import headers, new_secret

BODIES = st.dictionaries(st.text(), st.text() | st.integers() | st.none()).map(json.dumps)


@given(body=BODIES, event_id=st.from_regex(r"event_[0-9a-z]{1,26}", fullmatch=True))
def test_every_body_verifies_with_each_of_two_secrets_and_no_other(body: str, event_id: str) -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    sent = headers((new, old), event_id, int(time.time()), body)
    for secret in (old, new):
        assert Webhook(secret).verify(body, sent) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + " ", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, sent | {"webhook-id": event_id + "x"})


def test_an_old_timestamp_does_not_verify() -> None:
    secret = new_secret()
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify("{}", headers((secret,), "event_x", int(time.time()) - 3600, "{}"))
