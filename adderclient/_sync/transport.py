# Made from adderclient/_async/transport.py by `python -m adderclient.make_sync`: change that file, not this one.
"""The client's HTTP: sends requests, repeats those that may be repeated, raises the errors of this package."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from adderclient.arguments import plain
from adderclient.errors import ConnectionFailed
from adderclient.transport import (
    ATTEMPTS,
    Params,
    address,
    http_options,
    json_object,
    may_repeat,
    patience,
    pause_after,
    problem,
    query,
    unreachable,
)


class Transport:
    """Sends requests to one server.

    A request that did not reach the server is sent again, up to ``ATTEMPTS`` times in all and with growing pauses. A
    ``repeatable`` request is also sent again when the connection broke or the answer was 429, 502, 503 or 504.
    ``Retry-After`` is honoured up to 30 s.
    """

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self.url = address(url)
        self._timeout = timeout
        self._http = httpx2.Client(**http_options(self.url, api_key, timeout))

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
        if "json" in body:
            body["json"] = plain(body["json"])
        for attempt in range(1, ATTEMPTS + 1):
            pause, last = pause_after(attempt - 1), attempt == ATTEMPTS
            try:
                response = self._http.request(method, path, params=query(params), **body)
            except httpx2.TransportError as error:
                if last or not may_repeat(error, again):
                    raise self.unreachable(error) from None
            else:
                if response.is_success:
                    return response
                least = None if last else patience(response, again)
                if least is None:
                    raise problem(response)
                pause = max(pause, least)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """The JSON object of a successful answer."""
        return json_object(f"{self.url}{path}", self.request(method, path, **options))

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
        with self._http.stream("GET", path, params=query(params), headers=headers, timeout=timeout) as response:
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
            raise self.unreachable(error) from None

    def unreachable(self, error: httpx2.TransportError) -> ConnectionFailed:
        """The error to raise for a transport failure that is not tried again."""
        return unreachable(self.url, error)
