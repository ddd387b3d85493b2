"""The client: one connection pool and the resources behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

from adderclient.datasets import Datasets
from adderclient.jobs import Jobs
from adderclient.models import Models
from adderclient.profiles import require_private
from adderclient.recipes import Recipes
from adderclient.records import Found, Json, Page, Readiness
from adderclient.sweeps import Sweeps, compare
from adderclient.transport import Transport, problem
from adderclient.workers import Workers

DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """Talks to one Adderworks server.

    Use it as a context manager, or call :meth:`close`. Do not share it between processes.

    Args:
        url: the server's address; None: ``ADDER_URL``, else http://127.0.0.1:8000.
        api_key: sent as ``Authorization: Bearer``; None: ``ADDER_API_KEY``, else none.
        timeout: seconds to wait for the connection, and for each piece of an answer.

    Attributes:
        jobs: submits, controls and follows jobs (:class:`adderclient.jobs.Jobs`).
        models: lists, imports and downloads models (:class:`adderclient.models.Models`).
        datasets: lists and uploads datasets (:class:`adderclient.datasets.Datasets`).
        recipes: the tables and figures of the paper (:class:`adderclient.recipes.Recipes`).
        workers: the programs that run jobs (:class:`adderclient.workers.Workers`).
        sweeps: grids and searches over a spec (:class:`adderclient.sweeps.Sweeps`).

    Raises:
        AdderClientError: ``url`` is no http:// or https:// URL, or the key would go over plain http to another machine
            (``ADDER_INSECURE=1`` allows that).
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, timeout: float = 30.0) -> None:
        address = url or os.environ.get("ADDER_URL") or DEFAULT_URL
        key = api_key or os.environ.get("ADDER_API_KEY") or None
        require_private(address, key)
        self._transport = Transport(address, key, timeout)
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

    def compare(self, *jobs: str) -> Json:
        """Compares jobs.

        Args:
            jobs: their ids, 2 to 20.

        Returns:
            ``{jobs, differences, metrics, results}``: the jobs, the fields in which their specs differ, the metrics
            that all of them have, and their final metrics.

        Raises:
            NotFoundError: one of the jobs is not there.
            InvalidRequestError: they are too few, too many, or one is named twice.
        """
        return compare(self._transport, list(jobs))

    def resolve(self, text: str) -> Page[Found]:
        """Finds objects by a part of their ids.

        Args:
            text: the end of an id, or its beginning: at least 6 characters.

        Returns:
            Jobs, models, sweeps and datasets, at most 20, the newest first; ``has_more`` says whether there are others.

        Raises:
            InvalidRequestError: it is shorter, or has characters that no id has.
        """
        return Page.from_json(self._transport.json("GET", "/v1/resolve", params=[("id", text)]), Found.from_json)

    def system(self) -> Json:
        """Asks what the service is made of.

        Returns:
            ``{versions, workers, devices, backends, queue}``.

        Raises:
            ServerError: the server fails.
        """
        return self._transport.json("GET", "/v1/system")

    def ready(self) -> Readiness:
        """Asks whether the service can run jobs. A service that cannot is no error.

        Returns:
            The readiness, with each part of the service in ``checks``.

        Raises:
            ConnectionFailed: the server cannot be reached.
            ServerError: something else than an Adderworks server answers.
        """
        with self._transport.connected(), self._transport.stream("/readyz", accept=frozenset({503})) as response:
            response.read()
            if "json" not in response.headers.get("content-type", ""):
                raise problem(response)
            body = response.json()
            return Readiness.from_json(body if isinstance(body, Mapping) else {})

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
