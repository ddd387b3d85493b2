# Made from adderclient/_async/client.py by `python -m adderclient.make_sync`: change that file, not this one.
"""The client: one connection pool and the resources behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

from adderclient._sync.access import Keys, Projects, audit, me
from adderclient._sync.datasets import Datasets
from adderclient._sync.jobs import Jobs
from adderclient._sync.models import Models
from adderclient._sync.recipes import Recipes
from adderclient._sync.sweeps import Sweeps, compare
from adderclient._sync.transport import Transport
from adderclient._sync.webhooks import Webhooks
from adderclient._sync.workers import Workers
from adderclient.profiles import require_private
from adderclient.records import AuditEntry, Found, Json, Me, Page, Readiness
from adderclient.transport import DEFAULT_URL, address, problem


class Client:
    """Talks to one Adderworks server.

    Use it as a context manager, or call :meth:`close`. Do not share it between processes.

    Args:
        url: the server's address; None: ``ADDER_URL``, else http://127.0.0.1:8000.
        api_key: sent as ``Authorization: Bearer``; None: ``ADDER_API_KEY``, else none.
        timeout: seconds to wait for the connection, and for each piece of an answer.

    Attributes:
        jobs: submits, controls and follows jobs.
        models: lists, imports and downloads models.
        datasets: lists and uploads datasets.
        recipes: the tables and figures of the paper.
        workers: the programs that run jobs.
        sweeps: grids and searches over a spec.
        keys: who may use the project (admins).
        projects: who may use how much of the service (operators).
        webhooks: where events of the project are sent (admins).

    Raises:
        AdderClientError: ``url`` is no http:// or https:// URL, or the key would go over plain http to another machine
            (``ADDER_INSECURE=1`` allows that).
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, timeout: float = 30.0) -> None:
        server = address(url or os.environ.get("ADDER_URL") or DEFAULT_URL)
        key = api_key or os.environ.get("ADDER_API_KEY") or None
        require_private(server, key)
        self._transport = Transport(server, key, timeout)
        self.jobs = Jobs(self._transport)
        self.models = Models(self._transport)
        self.datasets = Datasets(self._transport)
        self.recipes = Recipes(self._transport)
        self.workers = Workers(self._transport)
        self.sweeps = Sweeps(self._transport)
        self.keys = Keys(self._transport)
        self.projects = Projects(self._transport)
        self.webhooks = Webhooks(self._transport)

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

    def me(self, *, project: str | None = None) -> Me:
        """Asks who one is.

        Args:
            project: name or id of another project than one's own (operators).

        Returns:
            The key, its project and role, the project's limits and what it uses.

        Raises:
            AuthenticationError: the key is missing or wrong.
            NotFoundError: there is no such project.
        """
        return me(self._transport, project)

    def audit(
        self,
        *,
        object_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        project: str | None = None,
    ) -> Page[AuditEntry]:
        """Asks for one page of what was done in the project, newest first (admins).

        Args:
            object_id: only what was done to this object.
            limit: entries on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            project: name or id of another project than one's own (operators).

        Returns:
            The page.

        Raises:
            AuthenticationError: the key may not read it.
            InvalidRequestError: the cursor is none.
        """
        return audit(self._transport, object_id, limit, after, project)

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
        with self._transport.connected():
            with self._transport.stream("/readyz", accept=frozenset({503})) as response:
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
