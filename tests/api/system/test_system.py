"""The service itself: readiness, numbers, documents, starting and a database that goes away."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from api.__main__ import main
from jobs.access.scope import DEFAULT
from jobs.database import Database
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_body


def test_importing_the_api_loads_no_torch() -> None:
    check = (
        "import sys, api.__main__; print([m for m in ('torch', 'numpy', 'worker', 'adderclient') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_readiness_names_each_part(api: httpx2.Client, worker: Worker) -> None:
    before = api.get("/readyz")
    assert before.status_code == 503
    checks = before.json()["checks"]
    assert {name: (check["ok"], check["required"]) for name, check in checks.items()} == {
        "database": (True, True), "broker": (True, True), "worker": (False, True), "inference": (False, False),
    }  # fmt: skip
    worker.heartbeat()
    after = api.get("/readyz")
    assert (after.status_code, after.json()["ready"]) == (200, True)
    assert api.get("/healthz").json() == {"status": "ok"}


def test_system_says_what_runs(api: httpx2.Client, worker: Worker) -> None:
    worker.heartbeat()
    api.post("/v1/jobs", json=train_body())
    found = api.get("/v1/system").json()
    assert [(w["id"], w["slots"], w["device"]) for w in found["workers"]] == [(worker.id, 2, "cpu")]
    assert (found["devices"], found["backends"]) == (["cpu"], ["c", "reference"])
    assert (found["queue"]["depth"]["queued"], found["queue"]["slots"]) == (1, 2)


def test_numbers_for_prometheus(api: httpx2.Client) -> None:
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    for path in (f"/v1/jobs/{job}", "/v1/jobs/x", "/nothing"):
        api.get(path)
    api.request("PROPFIND", "/healthz")
    text = api.get("/metrics").text
    assert 'adder_jobs{status="queued"} 1.0' in text
    assert 'adder_http_requests_total{method="GET",route="/v1/jobs/{id}",status="200"} 1.0' in text
    assert 'adder_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'method="other"' in text
    assert "PROPFIND" not in text
    assert "adder_database_up 1.0" in text
    assert re.search(r"^adder_outbox_depth \d", text, re.M)
    assert job not in text


def test_datasets(lite: Running, lite_api: httpx2.Client) -> None:
    listed = {row["name"]: row for row in lite_api.get("/v1/datasets").json()["data"]}
    assert (
        lite_api.get("/v1/datasets/ds_digits").json() == listed["digits"] == lite_api.get("/v1/datasets/digits").json()
    )
    assert (listed["digits"]["available"], listed["mnist"]["available"]) == (True, False)
    folder = lite.settings.datasets_dir / "mnist"
    assert "into datasets/mnist" in listed["mnist"]["how_to_get"]
    assert str(lite.settings.data_dir.resolve()) not in listed["mnist"]["how_to_get"]
    folder.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"):
        (folder / name).touch()
    assert not lite_api.get("/v1/datasets/mnist").json()["available"]
    (folder / "t10k-labels-idx1-ubyte").touch()
    assert lite_api.get("/v1/datasets/mnist").json()["available"]
    first = lite_api.get("/v1/datasets", params={"limit": 1}).json()
    rest = lite_api.get("/v1/datasets", params={"after": first["next"]}).json()
    assert [row["name"] for row in first["data"] + rest["data"]] == sorted(listed)
    assert lite_api.get("/v1/datasets/cifar").status_code == 404


def test_the_reference_needs_nobody_else(lite_api: httpx2.Client) -> None:
    page = lite_api.get("/docs")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.text.count("<script") == 1, "that of every page"
    references = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text)
    assert all(r.startswith(("/", "#")) for r in references), references
    anchors = set(re.findall(r"id=[\"']([^\"']+)", page.text))
    assert {r[1:] for r in references if r.startswith("#")} <= anchors
    assert lite_api.get("/static/docs.css").headers["content-type"].startswith("text/css")


def test_the_document_describes_every_call(lite_api: httpx2.Client) -> None:
    document = lite_api.get("/openapi.json").json()
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert len({op["operationId"] for op in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        for status, response in operation["responses"].items():
            assert status.startswith(("2", "3")) or "content" in response, operation["operationId"]
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', lite_api.get("/openapi.json").text))
    assert references <= set(document["components"]["schemas"])


@pytest.fixture
def _no_pool_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.streaming.job_changes.POLL_SECONDS", 0.05)


@contextmanager
def closed(url: str, admin_url: str) -> Iterator[None]:
    """A PostgreSQL database that lets nobody in."""
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.usefixtures("_no_pool_wait")
def test_a_database_that_is_away_is_503_and_comes_back(
    tmp_path: Path,
    fresh_postgres_url: str,
    postgres_url: str,
    valkey: Valkey,
    worker_of: Callable[[Running], Worker],
) -> None:
    with running(quick_settings(tmp_path, fresh_postgres_url, valkey.url)) as site, site.client() as api:
        job = api.post("/v1/jobs", json=train_body()).json()["id"]
        with api.stream("GET", f"/v1/jobs/{job}/stream") as stream:
            lines = stream.iter_lines()
            next(line for line in lines if line.startswith("data"))
            with closed(fresh_postgres_url, postgres_url):
                for answer in (api.get("/v1/jobs"), api.post("/v1/jobs", json=train_body())):
                    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                    assert int(answer.headers["retry-after"]) > 0
                    assert "psycopg" not in answer.text
                assert api.get("/healthz").status_code == 200
                assert not api.get("/readyz").json()["checks"]["database"]["ok"]
                assert "adder_database_up 0.0" in api.get("/metrics").text
            assert [row["id"] for row in api.get("/v1/jobs").json()["data"]] == [job]
            assert api.post(f"/v1/jobs/{job}/cancel").status_code == 202
            assert '"status":"cancelled"' in [line for line in lines if line][-1]


def run(environment: dict[str, str], *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "api", *arguments]
    return subprocess.Popen(
        command, env=os.environ | environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
    )


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `python -m api` says when it does not start with these settings."""

    def attempt(**environment: str) -> str:
        monkeypatch.setattr(sys, "argv", ["api"])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main() == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1, said
        return said

    return attempt


def test_it_says_in_one_line_why_it_cannot_start(tmp_path: Path, sqlite_url: str, refused: Callable[..., str]) -> None:
    assert "jobs.migrate" in refused(ADDER_DATABASE_URL=f"sqlite:///{tmp_path}/empty.db", ADDER_PORT="0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(ADDER_DATABASE_URL=sqlite_url, ADDER_PORT=port)
        assert f"127.0.0.1:{port}: Address already in use" in said
        assert "ADDER_PORT" in said
    assert "ADDER_PORT" in refused(ADDER_PORT="many")
    said = refused(ADDER_DATABASE_URL="postgresql://postgres:hunter2@127.0.0.1:1/x", ADDER_PORT="0")
    assert "ADDER_DATABASE_URL" in said
    assert "hunter2" not in said
    database = Database(sqlite_url)
    with database.write(DEFAULT) as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    assert "newer than the code" in refused(ADDER_DATABASE_URL=sqlite_url, ADDER_PORT="0")


def test_it_serves_an_inherited_socket_and_ends_at_sigterm(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    environment = {"ADDER_DATABASE_URL": sqlite_url, "ADDER_BROKER_URL": valkey.url, "ADDER_DATA_DIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = run(environment, "--fd", str(listener.fileno()), pass_fds=(listener.fileno(),))
    try:

        def alive() -> bool:
            try:
                return httpx2.get(f"{url}/healthz", timeout=1, trust_env=False).status_code == 200
            except httpx2.TransportError:
                return False

        wait_until(alive, "the API to answer")
        job = httpx2.post(f"{url}/v1/jobs", json=train_body(), trust_env=False, timeout=60).json()["id"]
        with httpx2.stream("GET", f"{url}/v1/jobs/{job}/stream", timeout=300, trust_env=False) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            list(lines)
        assert process.wait(timeout=300) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()
