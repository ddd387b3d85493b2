"""The API as `python -m api` runs it, over real HTTP, and a worker's hand in the database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from api.__main__ import Server, server_of
from jobs.database import Database
from jobs.settings import Settings
from jobs.store import store_of
from tests.api.attempt import Worker
from tests.api.dashboard import PATIENT, dashboard, visit
from tests.conftest import quick_settings, url_of
from tests.support.loop_time import long_callbacks
from tests.support.servers import Valkey, wait_until

__all__ = ["dashboard", "visit"]  # fixtures of the pages


@dataclass
class Running:
    url: str
    settings: Settings
    server: Server
    key: str | None = None
    """What its clients sign in with, unless they say otherwise."""

    def client(self, **options: Any) -> httpx2.Client:
        if self.key is not None:
            options.setdefault("headers", {"Authorization": f"Bearer {self.key}"})
        # Certificates, which nothing here needs, take longer to load than many a test.
        return httpx2.Client(base_url=self.url, timeout=300, trust_env=False, verify=False, **options)


@contextmanager
def threaded(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """A uvicorn server in a thread, ended as SIGTERM ends it."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the server to start")
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=300)
        assert not thread.is_alive(), "the server did not end"


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    server = server_of(settings, loop="asyncio")  # on uvloop nobody could measure the callbacks
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with threaded(server, listener):
            yield Running(url, settings, server)


@pytest.fixture(autouse=True)
def _the_loop_stays_free() -> Iterator[None]:
    """No test makes a server's event loop work for long in one callback: it would answer nobody meanwhile."""
    with long_callbacks() as found:
        yield
    assert not found, "\n".join(found)


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long("the same calls on the other database"))]
)
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database: on PostgreSQL in `make test-all`. tests/jobs has both in every run."""
    return url_of(request)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: Valkey) -> Settings:
    """One heartbeat of a worker lasts for the whole test, however busy the machine is."""
    return quick_settings(tmp_path, database_url, valkey.url, **PATIENT)


@pytest.fixture
def site(settings: Settings) -> Iterator[Running]:
    """A server on each kind of database: tests that use it run twice."""
    with running(settings) as site:
        yield site


@pytest.fixture
def api(site: Running) -> Iterator[httpx2.Client]:
    with site.client() as client:
        yield client


@pytest.fixture
def lite(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[Running]:
    """A server on SQLite, for what does not depend on the database."""
    with running(quick_settings(tmp_path, sqlite_url, valkey.url, **PATIENT)) as site:
        yield site


@pytest.fixture
def lite_api(lite: Running) -> Iterator[httpx2.Client]:
    with lite.client() as client:
        yield client


@pytest.fixture
def worker_of() -> Iterator[Callable[[Running], Worker]]:
    """A worker that writes into a server's database."""
    databases: list[Database] = []

    def make(site: Running) -> Worker:
        databases.append(Database(site.settings.resolved_database_url))
        return Worker(databases[-1], store_of(site.settings))

    yield make
    for database in databases:
        database.dispose()


@pytest.fixture
def worker(site: Running, worker_of: Callable[[Running], Worker]) -> Worker:
    return worker_of(site)


@pytest.fixture
def lite_worker(lite: Running, worker_of: Callable[[Running], Worker]) -> Worker:
    return worker_of(lite)
