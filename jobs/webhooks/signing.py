"""Secrets and signatures as Standard Webhooks has them (https://www.standardwebhooks.com, specification 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
"""The specification asks for 24 to 64 bytes."""


def new_secret() -> str:
    """A new secret: `whsec_` and random bytes in base 64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, event_id: str, timestamp: int, body: str) -> str:
    """The signature `v1,…` of one attempt: HMAC-SHA256 over id, timestamp and body, joined by points.

    Args:
        secret: `whsec_…`.
        event_id: the header `webhook-id`.
        timestamp: the header `webhook-timestamp`, in seconds since 1970.
        body: what is sent.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{event_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def headers(secrets_: Iterable[str], event_id: str, timestamp: int, body: str) -> dict[str, str]:
    """The headers of one attempt, with a signature for each secret: two while a rotation is under way."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, event_id, timestamp, body) for secret in secrets_),
    }
