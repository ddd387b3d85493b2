"""The child's ties to its supervisor hold whatever the child is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.servers import wait_until

HANGS = """
import os, re, sys
from worker.messages import die_with_supervisor
die_with_supervisor(int(sys.argv[1]))
print(os.getpid(), flush=True)
re.match(r"(a+)+$", "a" * 60 + "b")  # for centuries, with the interpreter's lock
"""
SUPERVISES = """
import os, subprocess, sys
lifeline, kept = os.pipe()
subprocess.run([sys.executable, "-c", sys.argv[1], str(lifeline)], pass_fds=(lifeline,), process_group=0)
"""


def test_a_child_that_hangs_with_the_interpreters_lock_dies_with_its_supervisor() -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISES, HANGS], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        wait_until(lambda: "R" in state(child), "the child to hang")
        supervisor.send_signal(signal.SIGKILL)
    wait_until(lambda: state(child) in ("", "Z"), "the child to be gone")


def state(pid: int) -> str:
    """Its letter in /proc; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
