"""A training process and the signals that its supervisor sends it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.states import Status
from tests.support.servers import wait_until
from tests.worker.steps import job_of, run_in_background, submit
from worker.app import run_available
from worker.context import WorkerContext
from worker.process import ChildProcess


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pids that got a signal after this process had reaped them: the kernel may have given them to another process."""
    found: list[int] = []

    def checked(send: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def deliver(pid: int, number: int) -> None:
            try:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                found.append(pid)
                raise ProcessLookupError from None
            send(pid, number)

        return deliver

    monkeypatch.setattr("worker.process.os.kill", checked(os.kill))
    monkeypatch.setattr("worker.process.os.killpg", checked(os.killpg))
    return found


def start(tmp_path: Path, program: str) -> tuple[ChildProcess, threading.Event]:
    ended = threading.Event()
    child = ChildProcess(
        (sys.executable, "-c", program),
        tmp_path / "job.json",
        threads=1,
        on_message=lambda line: None,
        on_log=lambda text: None,
        on_end=ended.set,
    )
    return child, ended


def test_no_signal_is_sent_to_a_child_that_was_reaped(tmp_path: Path, strays: list[int]) -> None:
    for _ in range(10):
        child, ended = start(tmp_path, "pass")
        while not ended.is_set():
            child.terminate()
        child.terminate()
        child.kill()
        child.close()
        assert child.returncode is not None
    assert strays == []


def test_what_a_child_leaves_behind_in_its_group_is_killed_before_it_is_reaped(
    tmp_path: Path, strays: list[int]
) -> None:
    """A grandchild that holds the pipes open for an hour does not keep the attempt from ending."""
    left = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])"
    child, ended = start(tmp_path, left)
    assert ended.wait(60)
    child.close()
    assert child.returncode == 0
    assert strays == []


def test_a_child_that_is_closed_while_nobody_takes_its_messages_ends(tmp_path: Path) -> None:
    """`close` does not wait for the threads that read its pipes: they may stand at a full spool."""
    held = threading.Event()
    child = ChildProcess(
        (sys.executable, "-c", "import sys, time; print('x', flush=True); time.sleep(3600)"),
        tmp_path / "job.json",
        threads=1,
        on_message=lambda line: None,
        on_log=lambda text: bool(held.wait(60)),
        on_end=lambda: None,
    )
    child.close()
    assert child.returncode == -9
    held.set()


def test_a_result_counts_although_the_supervisor_fails_at_stopping_the_child(
    lite_context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child says `done` and exits while its supervisor is about to send SIGTERM: the job must not run again."""

    def too_late(child: ChildProcess) -> None:
        wait_until(lambda: child.returncode is not None, "the child to end")
        raise ProcessLookupError

    monkeypatch.setattr(ChildProcess, "terminate", too_late)
    job_id = submit(lite_context, {"points": "3", "seconds": "1"})
    running = run_in_background(lite_context)
    wait_until(lambda: job_of(lite_context, job_id).status == Status.RUNNING, "the job to run")
    lite_context.draining.set()  # its supervisor is to stop it
    running.join(timeout=60)
    lite_context.draining.clear()
    run_available(lite_context)
    job = job_of(lite_context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.SUCCEEDED, 1, 0)
