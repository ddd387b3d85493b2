"""The client: one connection pool and the resources behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from adderclient.datasets import Datasets
from adderclient.jobs import Jobs
from adderclient.models import Models
from adderclient.recipes import Recipes
from adderclient.records import Readiness
from adderclient.sweeps import Sweeps, compare
from adderclient.transport import Transport, problem
from adderclient.workers import Workers

DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """Talks to one Adderworks server.

    ``url`` defaults to ``ADDER_URL``, else to this machine; ``api_key`` to ``ADDER_API_KEY``. ``timeout`` in seconds is
    for connecting and for each read. Use it as a context manager, or call :meth:`close`. Not shared between processes.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, timeout: float = 30.0) -> None:
        self._transport = Transport(
            url or os.environ.get("ADDER_URL") or DEFAULT_URL,
            api_key or os.environ.get("ADDER_API_KEY") or None,
            timeout,
        )
        self.jobs = Jobs(self._transport)
        self.models = Models(self._transport)
        self.datasets = Datasets(self._transport)
        self.recipes = Recipes(self._transport)
        self.workers = Workers(self._transport)
        self.sweeps = Sweeps(self._transport)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    def compare(self, *jobs: str) -> Mapping[str, Any]:
        """``{jobs, differences, metrics, results}`` of 2 to 20 jobs, by their ids."""
        return compare(self._transport, list(jobs))

    def system(self) -> Mapping[str, Any]:
        """Workers, devices, kernel backends, versions and queue depth, as the server says them."""
        return self._transport.json("GET", "/v1/system")

    def ready(self) -> Readiness:
        """Whether the service can run jobs; ``raw`` names each of its parts. A 503 is an answer here, no error."""
        with self._transport.connected(), self._transport.stream("/readyz", accept=frozenset({503})) as response:
            response.read()
            if "json" not in response.headers.get("content-type", ""):
                raise problem(response)
            body = response.json()
            return Readiness(ready=response.is_success, raw=body if isinstance(body, Mapping) else {})

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
