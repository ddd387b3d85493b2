"""Fixtures for every folder: the two databases, a broker, settings. All servers are real."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import structlog

from jobs.database import Database
from jobs.migrate import migrate
from jobs.settings import Settings
from tests.support.browser import browser  # noqa: F401  (a fixture)
from tests.support.parts import (  # noqa: F401  (hooks of pytest)
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.support.postgres_keeper import APPLICATION
from tests.support.servers import Valkey
from tests.support.sessions import no_session_in_a_session
from tests.support.shared import Run

# Tests run side by side, one for each core: threads of OpenMP would only wait for each other. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# ADDER_BACKEND=c-avx2 of a whole run asks for a processor with AVX2 and nothing beyond; in a test it would also name
# the backend of float64, which the C kernels do not take.
if (named := os.environ.get("ADDER_BACKEND", "")).startswith("c-"):
    os.environ["ADDER_CPU_CAPABILITY"] = named.removeprefix("c-")
    del os.environ["ADDER_BACKEND"]
# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile(
    "adder", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("adder")
# Drawing a traceback in colours takes seconds, which tests of the event loop would count.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session", autouse=True)
def _one_session_a_thread() -> Iterator[None]:
    with no_session_in_a_session():
        yield


@pytest.fixture(scope="session")
def shared_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What this process shares with the other workers of the test run."""
    return Run(request.config, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def postgres_url(shared_run: Run) -> str:
    """The PostgreSQL server of this test run, with a migrated template database."""
    return shared_run.postgres()


@pytest.fixture(scope="session")
def sqlite_template(shared_run: Run) -> Path:
    """A migrated, empty database."""

    def make(folder: Path) -> None:
        database = Database(f"sqlite:///{folder / 'adder.db'}")
        migrate(database)
        database.dispose()

    return shared_run.once("sqlite", make) / "adder.db"


@pytest.fixture(scope="session")
def digits_model(shared_run: Run) -> Path:
    """The file of a LeNet-5-BN that has learnt the digits for eight epochs."""

    def make(folder: Path) -> None:
        import addercore  # torch, which most tests do without

        spec = {"model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 8}
        addercore.fit(addercore.TrainConfig.from_dict(spec), workdir=folder, threads=1)

    return shared_run.once("digits-model", make) / "model.safetensors"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "adder.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def fresh_postgres_url(postgres_url: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE adder_template")
    yield postgres_url.replace("/postgres?", f"/{name}?").replace("//postgres@", f"//{APPLICATION}@")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of each kind: tests that use it run twice."""
    return url_of(request)


def url_of(request: pytest.FixtureRequest) -> str:
    """The database of the kind that a parameter of a fixture names."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "fresh_postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A running, empty broker."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: Valkey) -> Settings:
    """Quick settings for one test: its own data folder, database and queue."""
    return quick_settings(tmp_path, database_url, valkey.url)


def quick_settings(data_dir: Path, database_url: str, broker_url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "database_url": database_url,
        "broker_url": broker_url,
        "queue": f"q{uuid.uuid4().hex[:8]}",
        "poll_seconds": 0.05,
        "write_seconds": 0.05,
        "renew_seconds": 0.5,
        "lease_seconds": 2.0,
        "reconcile_seconds": 0.3,
        "webhook_poll_seconds": 3600.0,  # nothing is sent but by tests that are about that
        "cancel_grace_seconds": 2.0,
        "template": False,  # a test has one job or two: their processes are spawned sooner than a template is ready
    }
    return Settings(**(values | changes))
