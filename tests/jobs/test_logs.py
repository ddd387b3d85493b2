"""Logs of real processes: every line of stderr is one JSON object that names the process, the job, the attempt."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.settings import Settings
from jobs.states import Status
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, Fleet, environment
from tests.support.servers import Valkey
from tests.support.specs import train_body, train_spec

Line = dict[str, Any]


@contextmanager
def logging(path: Path, settings: Settings, *command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A real process whose stderr goes to `path`."""
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment(settings), stderr=log, stdout=subprocess.DEVNULL, **options
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(path: Path) -> list[Line]:
    """Fails where a line is no JSON object with the fields that all lines have."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        assert {"event", "level", "timestamp", "logger", "process"} <= set(line), line
    return found


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Settings:
    return quick_settings(tmp_path, sqlite_url, valkey.url, child_command=TINY_CHILD, log_level="DEBUG")


def test_every_line_of_a_worker_is_json_and_names_the_attempt(tmp_path: Path, settings: Settings) -> None:
    log = tmp_path / "worker.jsonl"
    fleet = Fleet(settings)  # submits; the worker is started here, for its stderr alone
    try:
        with logging(log, settings, "-m", "worker") as process:
            done, crash = fleet.submit([train_spec(), train_spec(labels={"do": "crash"})])
            fleet.wait_final([done, crash])
            handed = fleet.submit([train_spec(labels={"seconds": "60"})])[0]
            fleet.wait_status(handed, Status.RUNNING)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=300) == 0
    finally:
        fleet.close()
    found = lines(log)
    assert {line["process"] for line in found} == {"worker"}
    assert len({line["worker"] for line in found}) == 1
    assert any(line["logger"].startswith("celery") for line in found), "the libraries' lines come the same way"
    of_attempts = [line for line in found if line["event"].startswith("attempt.")]
    assert {line["job"] for line in of_attempts} == {done, crash, handed}
    for line in of_attempts:
        assert {"attempt", "fence", "worker"} <= set(line), line
    for job_id in (done, crash, handed):
        events = [line["event"] for line in of_attempts if line["job"] == job_id]
        assert (events[0], events[-1]) == ("attempt.started", "attempt.ended")


def test_every_line_of_the_api_is_json_and_names_the_request(tmp_path: Path, settings: Settings) -> None:
    log = tmp_path / "api.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url, fd = f"http://127.0.0.1:{listener.getsockname()[1]}", listener.fileno()
        with logging(log, settings, "-m", "api", "--fd", str(fd), pass_fds=(fd,)) as process:
            with httpx2.Client(base_url=url, timeout=300, trust_env=False) as client:
                accepted = client.post("/v1/jobs", json=train_body())
                job = accepted.json()["id"]
                cancelled = client.post(f"/v1/jobs/{job}/cancel")
                client.get(f"/v1/jobs/{job}")
                database = Database(settings.resolved_database_url)
                with database.write(DEFAULT) as session:
                    session.connection().exec_driver_sql("ALTER TABLE jobs RENAME COLUMN faults TO mistakes")
                database.dispose()
                failed = client.get(f"/v1/jobs/{job}")
                assert failed.status_code == 500, "the table is not as any code of ours makes it"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=300) in (0, -signal.SIGTERM)
    found = lines(log)
    assert {line["process"] for line in found} == {"api"}
    assert any(line["logger"].startswith("uvicorn") for line in found)
    by_request = {line["request"]: line for line in found if line["event"] == "request.answered"}
    first = by_request[accepted.headers["X-Request-ID"]]
    assert (first["status"], first["location"]) == (201, f"/v1/jobs/{job}")
    second = by_request[cancelled.headers["X-Request-ID"]]
    assert (second["job"], second["route"]) == (job, "/v1/jobs/{id}/cancel")
    wrong = next(line for line in found if line["event"] == "request.failed")
    assert (wrong["request"], wrong["job"]) == (failed.headers["X-Request-ID"], job)
    assert wrong["exception"].startswith("Traceback")


def test_what_nobody_caught_is_one_line(tmp_path: Path) -> None:
    program = """
import logging, threading, warnings
from jobs.logs import configure_logging
configure_logging("INFO", process="test")
warnings.warn("mind the gap")
logging.getLogger("some.library").error("a %s line", "foreign", exc_info=KeyError("x"))
thread = threading.Thread(target=lambda: 1 / 0, name="t")
thread.start()
thread.join()
raise RuntimeError("two\\nlines")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    log = tmp_path / "log"
    log.write_text(done.stderr)
    warning, foreign, thread, died = lines(log)
    assert done.returncode == 1
    assert "mind the gap" in warning["event"]
    assert (foreign["event"], foreign["logger"]) == ("a foreign line", "some.library")
    assert "KeyError" in foreign["exception"]
    assert (thread["event"], thread["thread"]) == ("thread.died", "t")
    assert "ZeroDivisionError" in thread["exception"]
    assert died["event"] == "process.died"
    assert died["exception"].endswith("RuntimeError: two\nlines")
