"""One attempt to deliver an event: one request, of which only the answer's status counts."""

from __future__ import annotations

import asyncio
import ssl
from importlib.metadata import version
from typing import Final

import httpcore2

from jobs.webhooks.addresses import BadUrl, Guard, Refused, target_of
from jobs.webhooks.delivery_queue import Claimed, Outcome
from jobs.webhooks.signing import headers

AGENT: Final = f"Adderworks/{version('adderworks')}"
SECONDS: Final = 15.0
"""For all of it: name, connection, TLS, request and the head of the answer."""


async def attempt(
    claimed: Claimed, timestamp: int, guard: Guard, tls: ssl.SSLContext, seconds: float = SECONDS
) -> Outcome:
    """Sends an event once. Redirects are not followed, and of the answer's body nothing is read.

    Args:
        claimed: the delivery.
        timestamp: of the attempt, in seconds since 1970; it is signed.
        guard: makes the connection.
        tls: with which certificates are verified.
        seconds: how long all of it may take.
    """
    try:
        # The settings may have changed since the URL was entered.
        target = target_of(claimed.url, private=guard.private)
    except BadUrl as error:
        return Outcome(None, f"The URL {error}.")
    sent = {
        "host": target.authority,
        "content-type": "application/json",
        "content-length": str(len(claimed.body.encode())),
        "user-agent": AGENT,
        "accept": "*/*",
        "connection": "close",
        **headers(claimed.secrets, claimed.event_id, timestamp, claimed.body),
    }
    url = httpcore2.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
    )
    try:
        async with (
            asyncio.timeout(seconds),
            httpcore2.AsyncConnectionPool(ssl_context=tls, network_backend=guard, max_connections=1) as pool,
            pool.stream("POST", url, headers=list(sent.items()), content=claimed.body.encode()) as answer,
        ):
            return _outcome(answer.status)
    except TimeoutError:
        return Outcome(None, f"No answer within {seconds:g} s.")
    except Exception as error:  # noqa: BLE001  (whatever a receiver does, it is an attempt that failed)
        return Outcome(None, _reason(error))


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, f"It answered {status}: redirects are not followed. Change the webhook's url.")
    return Outcome(status, f"It answered {status}.")


def _reason(error: Exception) -> str:
    """What went wrong, without what the receiver said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "No TLS connection could be made."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, Refused):
        return f"{error}."
    if isinstance(error, httpcore2.ConnectError | OSError):
        return "No connection could be made."
    if isinstance(error, httpcore2.RemoteProtocolError):
        return "It closed the connection without an answer, or answered no valid HTTP."
    return f"The connection broke ({type(error).__name__})."
