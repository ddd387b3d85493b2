"""``adder up`` as a real process with real children: stand-ins (``stand_ins/``) that break on demand."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adderclient import Client
from launcher.service import cores

STAND_INS = Path(__file__).parent / "stand_ins"
COMMAND = [sys.executable, "-P", "-c", "from adderclient.command import main; main()", "up"]


class Up:
    """One ``adder up``."""

    def __init__(self, data: Path, *arguments: str, fault: str = "", port: str = "0", **environment: str) -> None:
        self.data = data
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ADDER_")}
        self.process = subprocess.Popen(
            [*COMMAND, "--data", str(data), "--port", port, *arguments],
            env={
                **inherited,
                "PYTHONPATH": str(STAND_INS),
                "STAND_IN": fault,
                "TMPDIR": str(data.parent),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def ready(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.fullmatch(r"Adderworks is ready at http://127\.0\.0\.1:\d+\n", line), line + self.errors
        return line.split()[-1]

    def end(self, *signals: signal.Signals) -> int:
        for number in signals:
            self.process.send_signal(number)
        code = self.process.wait(300)
        self._reader.join()
        return code

    def journal(self) -> list[str]:
        path = self.data / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, what: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.journal() if line.startswith(what)]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*arguments: str, **options: str) -> Up:
        started.append(Up(tmp_path / "data", *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def first_with_a_database(service: Up) -> str:
    """Broker and inference, which have none, may start while it is migrated."""
    return next(line for line in service.journal() if not line.startswith(("broker ", "inference ")))


def test_up_serves_and_stops_in_order(up: Callable[..., Up], tmp_path: Path) -> None:
    service = up("--workers", "2")
    url = service.ready()
    with Client(url) as client:
        assert client.ready().ready
    until(lambda: len(service.pids("worker starts")) == 2 and service.pids("inference starts"))
    data = tmp_path / "data"
    assert data.stat().st_mode & 0o777 == 0o700
    (run,) = tmp_path.glob("adder-*")
    assert run.stat().st_mode & 0o777 == 0o700
    assert first_with_a_database(service).startswith(f"migrate sqlite:///{data}/adder.db")
    stores = f"redis+socket://{run}/valkey.sock?virtual_host=0 unix:{run}/inference.sock"
    assert any(line.startswith(f"worker has {stores}") for line in service.journal())
    assert "api says hello" in (data / "logs" / "api.log").read_text()
    assert service.end(signal.SIGTERM) == 0
    order = [line.split()[0] for line in service.journal() if " stops " in line]
    assert sorted(order[:3]) == ["inference", "worker", "worker"]
    assert order[3:] == ["api", "broker"]
    assert not any(alive(pid) for pid in service.pids(""))
    assert list(tmp_path.glob("adder-*")) == []


def test_one_service_a_folder(up: Callable[..., Up], tmp_path: Path) -> None:
    first = up()
    first.ready()
    second = up()
    assert second.end() == 2
    assert f"(pid {first.process.pid}) already serves {tmp_path / 'data'}" in second.errors
    assert first.end(signal.SIGINT) == 0
    third = up()
    third.ready()
    assert third.end(signal.SIGTERM) == 0


def test_a_port_in_use(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = up(port=str(port))
        assert service.end() == 2
    assert f"cannot listen on 127.0.0.1:{port}" in service.errors
    assert "--port" in service.errors
    assert service.journal() == []


def test_a_database_that_is_refused(up: Callable[..., Up]) -> None:
    service = up(fault="migrate:refuses")
    assert service.end() == 2
    assert "the database is newer than this code" in service.errors
    assert "Traceback" not in service.errors
    assert service.pids("api starts") == []


def test_what_the_upgrade_of_the_database_says_is_repeated(up: Callable[..., Up]) -> None:
    service = up(fault="migrate:upgrades")
    service.ready()
    until(lambda: "adder up: the database was at revision 1\n" in service.errors)
    assert service.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["broker", "api", "worker", "inference"])
def test_a_part_that_does_not_start(up: Callable[..., Up], name: str) -> None:
    service = up(fault=f"{name}:dies")
    assert service.end() == 4
    assert f"{name} did not start (exit code 7)" in service.errors
    assert f"{name} cannot go on" in service.errors
    assert not any(alive(pid) for pid in service.pids(""))


def test_never_ready(up: Callable[..., Up]) -> None:
    service = up("--ready-timeout", "1.5", fault="api:unready")
    assert service.end() == 4
    assert "not all is ready after 1.5 s (worker: none is alive)" in service.errors
    assert "worker says hello" in service.errors
    assert "inference says hello" not in service.errors


def test_what_is_not_required_is_waited_for_but_not_insisted_on(up: Callable[..., Up]) -> None:
    service = up("--ready-timeout", "1.5", fault="api:unpredictable")
    service.ready()
    until(lambda: "(inference: nobody answers)" in service.errors)  # another pipe than the one that said ready
    assert service.end(signal.SIGTERM) == 0


def test_a_part_that_dies_is_started_again(up: Callable[..., Up]) -> None:
    service = up()
    service.ready()
    until(lambda: service.pids("worker starts"))
    os.kill(service.pids("worker starts")[0], signal.SIGKILL)
    until(lambda: len(service.pids("worker starts")) == 2)
    until(lambda: "worker ended unexpectedly (killed by SIGKILL), starting it again in 1 s" in service.errors)
    assert service.end(signal.SIGTERM) == 0


def test_kill_9_leaves_nothing_behind(up: Callable[..., Up]) -> None:
    service = up()
    service.ready()
    until(lambda: service.pids("worker starts") and service.pids("inference starts"))
    children = [pid for name in ("broker", "api", "worker", "inference") for pid in service.pids(f"{name} starts")]
    assert len(children) == 4
    service.end(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in children))
    assert service.pids("worker stops")  # it had its chance to hand the job back


def test_a_second_signal_kills_at_once(up: Callable[..., Up]) -> None:
    service = up(fault="worker:stubborn")
    service.ready()
    until(lambda: service.pids("worker starts"))
    service.process.send_signal(signal.SIGINT)
    until(lambda: service.pids("worker ignores"))
    assert service.end(signal.SIGINT) == 0
    assert not any(alive(pid) for pid in service.pids(""))


def test_a_signal_while_starting(up: Callable[..., Up]) -> None:
    service = up(fault="api:unready")
    until(lambda: service.pids("worker starts"))
    assert service.end(signal.SIGTERM) == 0
    assert not any(alive(pid) for pid in service.pids(""))


@pytest.mark.parametrize(("workers", "slots"), [(1, None), (2, None), (1, 2), (2, 2)])
def test_all_jobs_of_a_machine_share_its_cores(up: Callable[..., Up], workers: int, slots: int | None) -> None:
    service = up("--workers", str(workers), **({} if slots is None else {"ADDER_WORKER_SLOTS": str(slots)}))
    service.ready()
    until(lambda: len(service.pids("worker computes")) == workers)
    threads = [int(line.split()[-2]) for line in service.journal() if line.startswith("worker computes")]
    assert threads == [max(1, cores() // (workers * (slots or 1)))] * workers
    assert service.end(signal.SIGTERM) == 0


def test_own_stores(up: Callable[..., Up]) -> None:
    service = up(ADDER_BROKER_URL="redis://elsewhere/0", ADDER_DATABASE_URL="postgresql://elsewhere/db")
    service.ready()
    assert first_with_a_database(service).startswith("migrate postgresql://elsewhere/db")
    until(lambda: service.pids("worker has redis://elsewhere/0"))
    assert service.pids("broker") == []
    assert service.end(signal.SIGTERM) == 0


def test_a_host_that_others_reach_is_warned_about(up: Callable[..., Up]) -> None:
    service = up("--host", "0.0.0.0", ADDER_AUTH="off")
    assert service.process.stdout is not None
    assert service.process.stdout.readline().startswith("Adderworks is ready at http://0.0.0.0:")
    assert "nobody needs a key" in service.errors
    assert service.end(signal.SIGTERM) == 0


def test_folders_that_cannot_be_used(up: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    service = up()
    assert service.end() == 2
    assert "cannot use" in service.errors
    assert "--data" in service.errors


def test_a_long_log_is_moved_aside(up: Callable[..., Up], tmp_path: Path) -> None:
    logs = tmp_path / "data" / "logs"
    logs.mkdir(parents=True)
    (logs / "api.log").write_bytes(b"x" * (9 << 20))
    service = up()
    service.ready()
    assert (logs / "api.log.1").stat().st_size == 9 << 20
    assert (logs / "api.log").stat().st_size < 1000
    assert service.end(signal.SIGTERM) == 0
