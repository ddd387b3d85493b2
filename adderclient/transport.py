"""What both clients know of HTTP: which failures are tried again and when, and which errors are raised."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from adderclient.errors import AdderClientError, ApiError, ConnectionFailed
from adderclient.version import __version__

Params = Sequence[tuple[str, str]]

DEFAULT_URL = "http://127.0.0.1:8000"
ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds; doubled after every failure
LONGEST_PAUSE = 10.0  # seconds
LONGEST_RETRY_AFTER = 30.0  # seconds; a server that asks for more is not waited for
RETRIED_STATUS = frozenset({429, 502, 503, 504})
QUOTA = "quota_exceeded"
"""Code of a 429 that is a limit of the project: asking again does not help."""
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row, drawn so that many clients do not come back at once."""
    return min(FIRST_PAUSE * 2.0**failures, LONGEST_PAUSE) * random.uniform(0.8, 1.2)


def address(url: str) -> str:
    """A server's address as requests take it.

    Raises:
        AdderClientError: it is no http:// or https:// URL.
    """
    found = url.rstrip("/").removesuffix("/v1")  # people copy the address of the API
    try:
        parsed = httpx2.URL(found)
    except httpx2.InvalidURL as error:
        raise AdderClientError(f"{url!r} is not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise AdderClientError(f"{url!r} is not an http:// or https:// URL; set ADDER_URL or --url")
    return found


def http_options(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """How the pool of connections to an `address` is made."""
    headers = {"User-Agent": f"adderclient/{__version__}"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": timeout,
        # Without TLS there are no certificates to load (40 ms), and redirects, to TLS or not, are not followed.
        "verify": url.startswith("https:"),
        "follow_redirects": False,
        # A proxy from the environment cannot reach this machine's own loopback address.
        "trust_env": not is_loopback(httpx2.URL(url).host),
    }


def json_object(url: str, response: httpx2.Response) -> Mapping[str, Any]:
    """The JSON object of an answer from `url`.

    Raises:
        AdderClientError: the answer is none.
    """
    try:
        answer = response.json()
    except ValueError:
        raise AdderClientError(f"{url} did not answer JSON: is it an Adderworks server?") from None
    if not isinstance(answer, Mapping):
        raise AdderClientError(f"{url} did not answer a JSON object: is it an Adderworks server?")
    return answer


def may_repeat(error: httpx2.TransportError, repeatable: bool) -> bool:
    """Whether a request that failed so may be sent again: it never arrived, or doing it twice does no harm."""
    if isinstance(error, NEVER_SENT):
        return True
    return repeatable and not isinstance(error, httpx2.TimeoutException)


def patience(response: httpx2.Response, repeatable: bool) -> float | None:
    """Least seconds after which to ask again for what was answered with an error; None: it is not asked again."""
    if not repeatable or response.status_code not in RETRIED_STATUS:
        return None
    if response.status_code == 429 and problem(response).code == QUOTA:
        return None
    asked = retry_after(response.headers) or 0.0
    return asked if asked <= LONGEST_RETRY_AFTER else None


def unreachable(url: str, error: httpx2.TransportError) -> ConnectionFailed:
    """The error to raise for a transport failure that is not tried again."""
    if isinstance(error, httpx2.ConnectTimeout):
        reason = "no connection in time"
    elif isinstance(error, httpx2.TimeoutException):
        reason = "connected, but no answer in time"
    else:
        reason = str(error) or type(error).__name__
    return ConnectionFailed(url, reason)


def given(**options: str | int | None) -> list[tuple[str, str]]:
    """Query parameters of the options that have a value."""
    return [(name, str(value)) for name, value in options.items() if value is not None]


def query(params: Params | None) -> httpx2.QueryParams | None:
    return httpx2.QueryParams(tuple((name, value) for name, value in params)) if params else None


def problem(response: httpx2.Response) -> ApiError:
    """The error for an unsuccessful response whose body has been read."""
    return ApiError.from_response(response.status_code, response.reason_phrase, response.content)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its two forms."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
