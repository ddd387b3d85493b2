# Made from adderclient/_async/workers.py by `python -m adderclient.make_sync`: change that file, not this one.
"""``client.workers``: the programs that run the jobs; asking one to leave or to come back."""

from __future__ import annotations

import builtins
import time
from time import monotonic
from typing import Literal

from adderclient._sync.transport import Transport
from adderclient.arguments import segment
from adderclient.errors import WorkerBusy
from adderclient.records import Page, Worker, WorkerSample

PAUSE_SECONDS = 0.5


class Workers:
    """The server's workers. A worker is named by its id, by the id's beginning, or by a host that has one worker.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> builtins.list[Worker]:
        """Asks for the workers that are alive.

        Returns:
            The workers.

        Raises:
            ServerError: the server fails.
        """
        return builtins.list(Page.from_json(self._transport.json("GET", "/v1/workers"), Worker.from_json))

    def samples(self, worker: str) -> builtins.list[WorkerSample]:
        """Asks what a worker and its jobs used of CPU, memory and GPUs in the last hours.

        Args:
            worker: which one.

        Returns:
            Samples of equal parts of these hours, oldest first.

        Raises:
            NotFoundError: no live worker has this name, or several have it.
        """
        answer = self._transport.json("GET", _path(worker, "samples"))
        return builtins.list(Page.from_json(answer, WorkerSample.from_json))

    def drain(self, worker: str, mode: Literal["finish", "hand_over"] = "finish") -> Worker:
        """Asks a worker to claim no more jobs.

        Args:
            worker: which one.
            mode: whether it finishes its jobs, or saves their checkpoints and hands them over to others.

        Returns:
            The worker, which may still run jobs.

        Raises:
            NotFoundError: no live worker has this name, or several have it.
        """
        return Worker.from_json(self._transport.json("POST", _path(worker), json={"mode": mode}, repeatable=True))

    def undrain(self, worker: str) -> Worker:
        """Lets a worker claim jobs again.

        Args:
            worker: which one.

        Returns:
            The worker.

        Raises:
            NotFoundError: no live worker has this name, or several have it.
        """
        return Worker.from_json(self._transport.json("DELETE", _path(worker), repeatable=True))

    def wait_drained(self, worker_id: str, timeout: float | None = None) -> None:
        """Waits until a worker runs nothing any more, or is gone.

        Args:
            worker_id: the worker's whole id.
            timeout: seconds to wait at most; None: without limit.

        Raises:
            WorkerBusy: it still ran jobs after ``timeout`` seconds.
        """
        began = monotonic()
        while True:
            found = next((worker for worker in self.list() if worker.id == worker_id), None)
            if found is None or found.state == "drained":
                return
            if timeout is not None and monotonic() - began >= timeout:
                raise WorkerBusy(found, timeout)
            time.sleep(PAUSE_SECONDS)


def _path(worker: str, what: str = "drain") -> str:
    return f"/v1/workers/{segment(worker)}/{what}"
