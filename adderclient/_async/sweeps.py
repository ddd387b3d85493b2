"""``client.sweeps``: jobs that vary a spec by a grid or a search, and what came of them; ``client.compare``."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import AsyncIterator
from typing import Literal

from adderclient._async.paging import walk
from adderclient._async.transport import AsyncTransport
from adderclient._async.waiting import ended, looks
from adderclient.arguments import Spec, segment, spec_of
from adderclient.errors import SweepFailed
from adderclient.progress import Progress
from adderclient.records import Json, Page, Sweep, Trial
from adderclient.transport import given


class AsyncSweeps:
    """The server's sweeps.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def submit(self, sweep: Spec, idempotency_key: str | None = None) -> Sweep:
        """Creates a sweep and with it its first jobs.

        Args:
            sweep: ``base`` (the spec of a training) with ``grid`` or ``search``, and an ``objective``; or the path of a
                YAML or JSON file with them. Arrays of numpy are taken for lists.
            idempotency_key: the same key with the same sweep gives the same sweep, however often it is sent. None: a
                fresh key, which makes the retries inside this one call safe.

        Returns:
            The sweep.

        Raises:
            InvalidRequestError: the sweep, or a job that it would make, is wrong; ``errors`` names each bad field.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        answer = await self._transport.json("POST", "/v1/sweeps", json=spec_of(sweep), headers=headers, repeatable=True)
        return Sweep.from_json(answer)

    async def validate(self, sweep: Spec) -> Json:
        """Checks a sweep; creates nothing.

        Args:
            sweep: as for :meth:`submit`.

        Returns:
            ``{jobs, spec, children}``: how many jobs it would make, the sweep with its defaults, and specs of jobs.

        Raises:
            InvalidRequestError: the sweep, or a job that it would make, is wrong; ``errors`` names each bad field.
        """
        params = [("validate_only", "true")]
        return await self._transport.json("POST", "/v1/sweeps", json=spec_of(sweep), params=params, repeatable=True)

    async def get(self, sweep_id: str) -> Sweep:
        """Asks for one sweep.

        Args:
            sweep_id: the sweep's id.

        Returns:
            The sweep as it is now.

        Raises:
            NotFoundError: there is no such sweep.
        """
        return Sweep.from_json(await self._transport.json("GET", _path(sweep_id)))

    async def list(
        self, *, status: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Page[Sweep]:
        """Asks for one page of the sweeps, newest first.

        Args:
            status: only sweeps with this status.
            limit: sweeps on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.

        Returns:
            The page.

        Raises:
            InvalidRequestError: the status or the cursor is none.
        """
        params = given(status=status, limit=limit, after=after)
        return Page.from_json(await self._transport.json("GET", "/v1/sweeps", params=params), Sweep.from_json)

    def trials(self, sweep_id: str) -> AsyncIterator[Trial]:
        """Walks through the trials of a sweep that are known so far.

        Args:
            sweep_id: the sweep's id.

        Returns:
            The trials in order; each page is fetched when it is reached.

        Raises:
            NotFoundError: there is no such sweep.
        """
        return walk(self._transport, f"{_path(sweep_id)}/trials", [], Trial.from_json)

    async def table(self, sweep_id: str) -> Json:
        """Asks for the table of a sweep.

        Args:
            sweep_id: the sweep's id.

        Returns:
            ``{objective, direction, fields, rows, best, over_seeds}``: a row for each combination, over its seeds where
            it has several; ``best`` is the index of a row.

        Raises:
            NotFoundError: there is no such sweep.
        """
        return await self._transport.json("GET", f"{_path(sweep_id)}/table")

    async def table_text(self, sweep_id: str, format: Literal["csv", "md"]) -> str:
        """Asks for the table of a sweep as text.

        Args:
            sweep_id: the sweep's id.
            format: CSV or Markdown.

        Returns:
            The text.

        Raises:
            NotFoundError: there is no such sweep.
        """
        return (await self._transport.request("GET", f"{_path(sweep_id)}/table", params=[("format", format)])).text

    async def figure(self, sweep_id: str) -> str:
        """Asks for the picture of a sweep.

        Args:
            sweep_id: the sweep's id.

        Returns:
            An SVG document.

        Raises:
            NotFoundError: there is no such sweep.
        """
        return (await self._transport.request("GET", f"{_path(sweep_id)}/figure.svg")).text

    async def cancel(self, sweep_id: str) -> Sweep:
        """Cancels the jobs of a sweep that have not ended, and makes no further ones; cancelling it twice is no error.

        Args:
            sweep_id: the sweep's id.

        Returns:
            The sweep, which may be ``cancelling`` for a moment.

        Raises:
            ConflictError: it has already succeeded or failed.
            NotFoundError: there is no such sweep.
        """
        return Sweep.from_json(await self._transport.json("POST", f"{_path(sweep_id)}/cancel", repeatable=True))

    async def delete(self, sweep_id: str) -> None:
        """Forgets a finished sweep; its jobs stay.

        Args:
            sweep_id: the sweep's id.

        Raises:
            ConflictError: it has not ended.
            NotFoundError: there is no such sweep.
        """
        await self._transport.request("DELETE", _path(sweep_id))

    async def watch(self, sweep_id: str, timeout: float | None = None) -> AsyncIterator[Sweep]:
        """Looks at a sweep now and then until it has ended.

        Args:
            sweep_id: the sweep's id.
            timeout: seconds to watch at most; None: without limit.

        Returns:
            The sweep at each look, the last time as it ended.

        Raises:
            WaitTimeout: it did not end within ``timeout`` seconds.
            NotFoundError: there is no such sweep.
            ConnectionFailed: the server could not be reached for two minutes.
        """
        async for look in looks(lambda: self.get(sweep_id), timeout):
            yield look.seen

    async def wait(
        self,
        sweep_id: str,
        timeout: float | None = None,
        *,
        check: bool = True,
        progress: Progress[Sweep] = False,
    ) -> Sweep:
        """Waits until a sweep has ended.

        Args:
            sweep_id: the sweep's id.
            timeout: seconds to wait at most; None: without limit.
            check: whether a sweep that does not succeed is an error.
            progress: true shows a line on stderr; a function is called with the sweep at each look.

        Returns:
            The ended sweep.

        Raises:
            SweepFailed: none of its trials succeeded, or it was cancelled, and ``check`` is true.
            WaitTimeout: it did not end within ``timeout`` seconds.
            NotFoundError: there is no such sweep.
            ConnectionFailed: the server could not be reached for two minutes.
        """
        last = await ended(lambda: self.get(sweep_id), timeout, progress)
        if check and last.status != "succeeded":
            raise SweepFailed(last)
        return last


async def compare(transport: AsyncTransport, jobs: builtins.list[str]) -> Json:
    """``{jobs, differences, metrics, results}`` of 2 to 20 jobs."""
    return await transport.json("GET", "/v1/compare", params=[("job", job) for job in jobs])


def _path(sweep_id: str) -> str:
    return f"/v1/sweeps/{segment(sweep_id)}"
