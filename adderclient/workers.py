"""``client.workers``: who runs the jobs, and asking one to leave or to come back."""

from __future__ import annotations

import builtins
import time
from typing import Literal
from urllib.parse import quote

from adderclient.errors import WorkerBusy
from adderclient.records import Page, Worker
from adderclient.transport import Transport

PAUSE_SECONDS = 0.5


class Workers:
    """The server's workers. ``worker`` is an id, its beginning, or the name of a host with one worker."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> builtins.list[Worker]:
        """Those that are alive."""
        return builtins.list(Page.from_json(self._transport.json("GET", "/v1/workers"), Worker.from_json))

    def drain(self, worker: str, mode: Literal["finish", "hand_over"] = "finish") -> Worker:
        """Asks a worker to claim nothing more, and to finish its jobs or to hand them over with a checkpoint."""
        return Worker.from_json(self._transport.json("POST", _path(worker), json={"mode": mode}, repeatable=True))

    def undrain(self, worker: str) -> Worker:
        """Lets a worker claim again."""
        return Worker.from_json(self._transport.json("DELETE", _path(worker), repeatable=True))

    def wait_drained(self, worker_id: str, timeout: float | None = None) -> None:
        """Waits until a worker runs nothing any more, or is gone.

        Raises:
            WorkerBusy: it still ran jobs after ``timeout`` seconds.
        """
        began = time.monotonic()
        while True:
            found = next((worker for worker in self.list() if worker.id == worker_id), None)
            if found is None or found.state == "drained":
                return
            if timeout is not None and time.monotonic() - began >= timeout:
                raise WorkerBusy(found, timeout)
            time.sleep(PAUSE_SECONDS)


def _path(worker: str) -> str:
    return f"/v1/workers/{quote(worker, safe='')}/drain"
