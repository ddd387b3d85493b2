"""Memory: which limit holds, and whom the kernel ended for want of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.access.scope import DEFAULT
from jobs.settings import Settings
from jobs.states import FINAL, FailureCode, Status
from jobs.tables import Worker
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, Fleet, fleet
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec
from worker import memory

LIMIT = 256 * 1024**2


class Cage:
    """A cgroup of this test's own, under v2 or v1."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self.version = version

    def limit(self, size: int) -> None:
        (self.folder / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")).write_text(str(size))

    def put(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))


@pytest.fixture
def cage() -> Iterator[Cage]:
    group = memory.own_group()
    if group is None:
        pytest.skip("no cgroup with memory accounts here")
    folder = group.folder / f"test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"may not make a cgroup: {error}")
    try:
        yield Cage(folder, group.version)
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the cgroup to be left")
        folder.rmdir()


TRIES = 4
"""The kernel may end a second process before it has the memory of the first, which can be the worker."""


def caged(running: Fleet, cage: Cage) -> subprocess.Popen[bytes]:
    """A new worker, which may use `LIMIT` bytes together with its training."""
    running.start()
    worker = running.workers[-1]

    def probed() -> bool:
        with running.database.read(DEFAULT) as session:
            return any(row.info for row in session.query(Worker).filter_by(pid=worker.pid))

    wait_until(probed, "the probe, which loads torch, to be over")
    cage.put(worker.pid)
    cage.limit(LIMIT)
    return worker


def test_the_kernels_kill_is_told_from_a_plain_kill(
    tmp_path: Path, sqlite_url: str, valkey: Valkey, cage: Cage
) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, child_command=TINY_CHILD, lease_seconds=2.0)
    with fleet(settings, 0) as running:
        for _ in range(TRIES):
            worker = caged(running, cage)
            hog = running.submit([train_spec(labels={"do": "hog", "points": "1"})])[0]
            wait_until(lambda: running.job(hog).status in FINAL or worker.poll() is not None, "the kernel to act")  # noqa: B023
            if worker.poll() is None:
                break
        job = running.job(hog)
        assert job.error is not None
        assert (job.status, job.error["code"], job.attempt) == (Status.FAILED, FailureCode.OUT_OF_MEMORY, 1)
        assert "batch_size" in job.error["message"]
        assert "memory_gb" in job.error["message"]
        assert f"{LIMIT / 1024**3:.1f} GiB" in job.error["message"], "the limit that was met"
        assert worker.poll() is None, "the kernel took the training and not its worker"
        killed = running.submit([train_spec(labels={"do": "suicide"}, limits={"max_attempts": 1})])[0]
        job = running.wait_final([killed])[0]
        assert job.error is not None
        assert job.error["code"] == FailureCode.WORKER_LOST, "the kill before it was another's"


def test_kills_are_counted_once_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    kills, now = 5, 1000.0
    monkeypatch.setattr(memory, "oom_kills", lambda: kills)
    monkeypatch.setattr(memory, "_accounted", 0)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    first, second = memory.OomWatch(), memory.OomWatch()
    assert not first.struck(), "those were before"
    kills = 6
    assert first.struck()
    assert not second.struck(), "one kill has one victim"
    kills = 7
    for _ in range(5):
        now += 10
        second.sample()
    assert not second.struck(), "it lived on long after that kill"
    kills = 8
    assert second.struck()


@pytest.mark.parametrize(
    ("cgroup", "mount", "files", "expected"),
    [
        ("0::/pod/box", "1 1 0:1 / {top} rw - cgroup2 cgroup2 rw", {"pod/box/memory.events": "oom_kill 3"}, "pod/box"),
        ("0::/", "1 1 0:1 / {top} rw - cgroup2 cgroup2 rw", {"memory.events": "oom_kill 3"}, ""),
        (
            "4:memory:/docker/abc\n0::/x",
            "1 1 0:1 /docker/abc {top} rw - cgroup cgroup rw,memory",
            {"memory.oom_control": "oom_kill 3"},
            "",
        ),
        ("4:cpu:/\n0::/", "1 1 0:1 / {top} rw - cgroup cgroup rw,cpu", {}, None),
    ],
)
def test_the_own_cgroup_is_found(
    tmp_path: Path, cgroup: str, mount: str, files: dict[str, str], expected: str | None
) -> None:
    top = tmp_path / "sys"
    top.mkdir()
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(mount.format(top=top))
    found = memory.own_group(tmp_path)
    assert (None if found is None else found.folder) == (None if expected is None else top / expected)


def test_a_child_is_offered_to_the_kernel_first(lite_child_pid: int) -> None:
    assert int(Path(f"/proc/{lite_child_pid}/oom_score_adj").read_text()) == 500


@pytest.fixture
def lite_child_pid(tmp_path: Path) -> Iterator[int]:
    from worker.process import ChildProcess

    child = ChildProcess(
        ("sh", "-c", "sleep 60; :"),
        tmp_path / "job.json",
        threads=1,
        on_message=lambda _: None,
        on_log=lambda _: None,
        on_end=lambda: None,
    )
    yield child.pid
    os.killpg(child.pid, signal.SIGKILL)
    child.close()


def test_memory_bytes_is_that_of_the_machine_or_less(settings: Settings) -> None:
    assert 0 < memory.memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
