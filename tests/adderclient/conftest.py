"""A fresh service and a client for each test, and the ``adder`` command as a real process or in this one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from adderclient import Client, transport
from adderclient.command import main
from jobs.database import Database
from jobs.store import store_of
from tests.adderclient.contract_service import Service
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.api.dashboard import PATIENT
from tests.conftest import quick_settings
from tests.support.keys import new_key
from tests.support.servers import Valkey

Adder = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are a hundredth of the real ones; their number is not touched."""
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.002)


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.close()
    assert not running.mistakes, "the stand-in says what the API does not say"


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as connected:
        yield connected


@pytest.fixture(params=["off", "on"], ids=["without keys", "with keys"])
def site(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """The real API, which wants no keys, and then wants one. No worker runs."""
    settings = quick_settings(tmp_path / "data", sqlite_url, valkey.url, **PATIENT, auth=request.param)
    with running(settings) as site:
        if request.param == "on":
            site.key = new_key(settings)
            monkeypatch.setenv("ADDER_API_KEY", site.key)
        yield site


@pytest.fixture
def real(site: Running) -> Iterator[Client]:
    """A client of the real API."""
    with Client(site.url, api_key=site.key) as client:
        yield client


@pytest.fixture
def worker(site: Running) -> Iterator[Worker]:
    """A worker's hand in the database of the real API."""
    database = Database(site.settings.resolved_database_url)
    yield Worker(database, store_of(site.settings))
    database.dispose()


@pytest.fixture
def adder(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adder:
    """Runs ``adder ARGUMENTS`` in this process, in an empty folder."""
    monkeypatch.setenv("ADDER_URL", service.url)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["adder", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
        return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def adder_process(service: Service, tmp_path: Path) -> Adder:
    """Runs ``adder ARGUMENTS`` in a process of its own, in an empty folder."""

    def run(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from adderclient.command import main; main()", *arguments],
            env={**os.environ, "ADDER_URL": service.url, "NO_COLOR": "1", **environment},
            cwd=tmp_path,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
