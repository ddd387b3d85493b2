"""A process of a job, however it was started: its number, waiting for its end, and reaping it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Way = Literal["forked", "spawned"]

OOM_SCORE = "500"
"""`oom_score_adj` of a training, of 1000: the kernel kills it before any process that uses less than half of the
memory."""
ORPHANS_SECONDS = 2.0
"""How long a killed process may take to die before it is left behind as a zombie."""


@dataclass(frozen=True)
class Files:
    """Descriptors that a job's process inherits: the ends that it writes to, and the lifeline that it reads."""

    output: int
    messages: int
    lifeline: int


class Handle(Protocol):
    """A process that has been started."""

    way: Way

    @property
    def pid(self) -> int: ...

    def wait_ended(self) -> None:
        """Returns once the process has ended. It stays a zombie: its number is still its own."""

    def reap(self) -> int:
        """The exit status (negative: the signal that ended it), to be called once, after `wait_ended`."""


class Spawned:
    """A program that was started by its command."""

    way: Way = "spawned"

    def __init__(
        self,
        command: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        credentials: Mapping[str, Any],
        files: Files,
    ) -> None:
        self._popen = subprocess.Popen(
            [
                *command, *arguments,
                "--messages-fd", str(files.messages), "--lifeline-fd", str(files.lifeline),
            ],
            stdin=subprocess.DEVNULL,
            stdout=files.output,
            stderr=files.output,
            pass_fds=(files.messages, files.lifeline),
            process_group=0,
            env=environment,
            **credentials,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_ended(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def reap(self) -> int:
        return self._popen.wait()


def reap_orphans(group: int) -> None:
    """Reaps what this process has adopted of a group whose processes were all killed (`client.adopt_orphans`)."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    with suppress(ChildProcessError):  # there is none (any more)
        while time.monotonic() < deadline:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:
                time.sleep(0.01)  # killed, but not dead yet


def offer_to_oom_killer(pid: int | Literal["self"]) -> None:
    """Makes the OOM killer choose this process rather than the worker, which would take all its trainings along."""
    with suppress(OSError):  # ended already, or a system without it
        Path(f"/proc/{pid}/oom_score_adj").write_text(OOM_SCORE)
