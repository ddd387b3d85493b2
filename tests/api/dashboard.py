"""A real server on SQLite, a stand-in for the worker, and a browser that notices everything that goes wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.__main__ import server_of
from jobs.database import Database
from jobs.store import store_of
from tests.api.stand_in import StandIn
from tests.conftest import quick_settings
from tests.support.browser import new_page
from tests.support.servers import Valkey, wait_until

PATIENT = {"renew_seconds": 60.0, "lease_seconds": 300.0}
"""Settings with which one heartbeat lasts for a whole test."""
PAGE_TIMEOUT_MS = 60_000


@dataclass
class Dashboard:
    url: str
    worker: StandIn


@pytest.fixture
def dashboard(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Iterator[Dashboard]:
    """The application as `python -m api` runs it, empty, with one live worker."""
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, **PATIENT)
    database = Database(sqlite_url)
    worker = StandIn(database, store_of(settings))
    worker.heartbeat()
    server = server_of(settings)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), "the API to start")
            yield Dashboard(f"http://127.0.0.1:{listener.getsockname()[1]}", worker)
        finally:
            server.should_exit = True
            thread.join(timeout=300)
            database.dispose()


@dataclass
class Visit:
    """A page, and what must not happen on it."""

    page: Any
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of complaints that a test causes on purpose."""

    def unexpected(self) -> list[str]:
        return [problem for problem in self.problems if not any(part in problem for part in self.expected)]


@pytest.fixture
def visit(browser: Any, dashboard: Dashboard) -> Iterator[Callable[..., Visit]]:
    """Opens a path. At the end there must have been no console error, no other host and no policy violation."""
    opened: list[Visit] = []

    def open_(path: str, **options: Any) -> Visit:
        page = new_page(browser, **options)
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        visit = Visit(page)
        opened.append(visit)
        page.on("console", lambda message: _complain(visit, message))
        page.on("pageerror", lambda error: visit.problems.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: _refuse(visit, dialog))
        page.on("request", lambda request: _check_host(visit, request.url, dashboard.url))
        page.goto(dashboard.url + path)
        return visit

    yield open_
    found = []
    for visit in opened:
        visit.page.context.close()
        found += visit.unexpected()
    assert not found, "\n".join(found)


def _complain(visit: Visit, message: Any) -> None:
    if message.type in ("error", "warning"):  # a policy violation is an error, too
        visit.problems.append(f"{message.type}: {message.text} {message.location.get('url', '')}")


def _refuse(visit: Visit, dialog: Any) -> None:
    visit.problems.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _check_host(visit: Visit, url: str, base: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != urlsplit(base).netloc:
        visit.problems.append(f"request to another host: {url}")
