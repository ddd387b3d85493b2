"""The API and the inference process on SQLite, without workers: nothing that is submitted shall compute."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from adderclient import Client
from benchmarks.programs import program, python
from jobs.database import Database
from jobs.migrate import migrate
from jobs.store import store_of
from tests.api.attempt import Worker
from tests.conftest import quick_settings
from tests.support.fleet import environment
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_body


@dataclass
class Server:
    url: str
    address: tuple[str, int]
    pid: int
    """Of the API."""
    folder: Path
    database: Database

    def log(self) -> str:
        return (self.folder / "api.log").read_text(errors="replace")


@contextmanager
def api_server(folder: Path) -> Iterator[Server]:
    """An API that knows a finished job, a model and a sweep, so that some ids lead somewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    valkey = Valkey(folder / "valkey")
    valkey.start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    url = f"sqlite:///{folder / 'adder.db'}"
    inference = f"unix:{valkey.socket.with_name('inference')}"
    settings = quick_settings(folder / "data", url, valkey.url, inference_url=inference)
    database = Database(settings.resolved_database_url)
    migrate(database)
    host, port = listener.getsockname()[:2]
    command = python("-m", "api", "--fd", str(listener.fileno()))
    try:
        with (
            program(python("-m", "worker.inference"), environment(settings), folder / "inference.log"),
            program(command, environment(settings), folder / "api.log", fds=(listener.fileno(),)) as api,
            Client(f"http://{host}:{port}") as client,
        ):
            server = Server(f"http://{host}:{port}", (host, port), api.pid, folder, database)
            wait_until(lambda: _healthy(server.url), "the API to answer", 60)
            client.jobs.submit(train_body())
            client.sweeps.submit({"base": train_body(), "grid": {"seed": [0, 1]}})
            worker = Worker(database, store_of(settings))
            claim = worker.claim()
            worker.metrics(claim, 1, 20)
            worker.artifact(claim, "log.txt", b"hello")
            worker.publish(claim)
            worker.finish(claim)
            yield server
    finally:
        database.dispose()
        listener.close()
        valkey.close()


def _healthy(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz").status_code == 200
    except httpx2.HTTPError:
        return False


def nice(difference: int) -> None:
    """The fuzzer computes more than the API: on two cores it stands back."""
    os.nice(difference)
