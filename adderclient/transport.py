"""The client's HTTP: sends requests, repeats those that may be repeated, raises the errors of this package."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from adderclient.errors import AdderClientError, ApiError, ConnectionFailed
from adderclient.version import __version__

Params = Sequence[tuple[str, str]]

ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds; doubled after every failure
LONGEST_RETRY_AFTER = 30.0  # seconds; a server that asks for more is not waited for
RETRIED_STATUS = frozenset({429, 502, 503, 504})
QUOTA = "quota_exceeded"
"""Code of a 429 that is a limit of the project: asking again does not help."""
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Transport:
    """Sends requests to one server.

    A request that did not reach the server is sent again, up to ``ATTEMPTS`` times in all and with growing pauses. A
    ``repeatable`` request is also sent again when the connection broke or the answer was 429, 502, 503 or 504.
    ``Retry-After`` is honoured up to 30 s.
    """

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")  # people copy the address of the API
        self._timeout = timeout
        headers = {"User-Agent": f"adderclient/{__version__}"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        try:
            parsed = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise AdderClientError(f"{url!r} is not a URL: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise AdderClientError(f"{url!r} is not an http:// or https:// URL; set ADDER_URL or --url")
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=timeout,
            # Without TLS there are no certificates to load (40 ms), and redirects, to TLS or not, are not followed.
            verify=parsed.scheme == "https",
            follow_redirects=False,
            # A proxy from the environment cannot reach this machine's own loopback address.
            trust_env=not is_loopback(parsed.host),
        )

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        repeatable: bool | None = None,
        **body: Any,
    ) -> httpx2.Response:
        """Returns a successful response with its body, or raises. A GET is ``repeatable`` unless said otherwise."""
        again = method == "GET" if repeatable is None else repeatable
        for attempt in range(1, ATTEMPTS + 1):
            pause = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
            last = attempt == ATTEMPTS
            try:
                response = self._http.request(method, path, params=_query(params), **body)
            except httpx2.TimeoutException as error:
                if last or not isinstance(error, NEVER_SENT):
                    raise self.unreachable(error) from error
            except httpx2.TransportError as error:
                if last or not (again or isinstance(error, NEVER_SENT)):
                    raise self.unreachable(error) from error
            else:
                if response.is_success:
                    return response
                asked = retry_after(response.headers)
                patient = asked is None or asked <= LONGEST_RETRY_AFTER
                final = response.status_code == 429 and problem(response).code == QUOTA
                if last or not again or response.status_code not in RETRIED_STATUS or not patient or final:
                    raise problem(response)
                pause = max(pause, asked or 0.0)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """The JSON object of a successful answer."""
        response = self.request(method, path, **options)
        try:
            answer = response.json()
        except ValueError as error:
            raise AdderClientError(f"{self.url}{path} did not answer JSON: is it an Adderworks server?") from error
        if not isinstance(answer, Mapping):
            raise AdderClientError(f"{self.url}{path} did not answer a JSON object: is it an Adderworks server?")
        return answer

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = 60.0,
        accept: frozenset[int] = frozenset(),
    ) -> Iterator[httpx2.Response]:
        """Opens a GET whose body is read piece by piece. It is not repeated; ``httpx2.TransportError`` is not caught.

        A status in ``accept`` is no error.
        """
        timeout = httpx2.Timeout(self._timeout, read=read_timeout)
        with self._http.stream("GET", path, params=_query(params), headers=headers, timeout=timeout) as response:
            if not response.is_success and response.status_code not in accept:
                response.read()
                raise problem(response)
            yield response

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Turns a transport failure inside the block into :class:`ConnectionFailed`."""
        try:
            yield
        except httpx2.TransportError as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: httpx2.TransportError) -> ConnectionFailed:
        """The error to raise for a transport failure that is not tried again."""
        if isinstance(error, httpx2.ConnectTimeout):
            reason = "no connection in time"
        elif isinstance(error, httpx2.TimeoutException):
            reason = "connected, but no answer in time"
        else:
            reason = str(error) or type(error).__name__
        return ConnectionFailed(self.url, reason)


def given(**options: str | int | None) -> list[tuple[str, str]]:
    """Query parameters of the options that have a value."""
    return [(name, str(value)) for name, value in options.items() if value is not None]


def _query(params: Params | None) -> httpx2.QueryParams | None:
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
