"""``adder demo`` with stand-ins for the server: however it ends, nothing that it started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.launcher.test_up import STAND_INS, alive, until

COMMAND = [sys.executable, "-P", "-c", "from adderclient.command import main; main()", "demo"]


@contextmanager
def demo(data: Path, fault: str = "") -> Iterator[subprocess.Popen[str]]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ADDER_")}
    process = subprocess.Popen(
        [*COMMAND, "--data", str(data)],
        env={**inherited, "PYTHONPATH": str(STAND_INS), "STAND_IN": fault, "TMPDIR": str(data.parent)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(data: Path) -> list[int]:
    path = data / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split()[-1]) for line in lines if " starts " in line]


def test_a_step_that_fails_stops_everything(tmp_path: Path) -> None:
    """The stand-ins know no jobs: the first request of the demo is refused."""
    with demo(tmp_path / "data") as process:
        out, errors = process.communicate(timeout=300)
    assert process.returncode not in (0, None)
    assert out == ""
    assert "Starting the service" in errors
    assert "Traceback" not in errors
    assert started(tmp_path / "data")
    assert not any(alive(pid) for pid in started(tmp_path / "data"))
    assert list(tmp_path.glob("adder-*")) == []


LONG = pytest.mark.long("a demo for each signal")
STOPS = [signal.SIGKILL, *(pytest.param(number, marks=LONG) for number in (signal.SIGINT, signal.SIGTERM))]


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "data", fault="api:unready") as process:
        until(lambda: len(started(tmp_path / "data")) == 4)
        process.send_signal(number)
        process.wait(300)
        assert process.returncode != 0
        until(lambda: not any(alive(pid) for pid in started(tmp_path / "data")))
        until(lambda: not list(tmp_path.glob("adder-*")))


def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    with demo(tmp_path / "data", fault="migrate:refuses") as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "the database is newer than this code" in errors
    assert "the service did not start" in errors
