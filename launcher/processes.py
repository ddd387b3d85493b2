"""A child process: it has a process group of its own, writes to its log file, and ends when its parent does."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
LONGEST_BACKOFF = 30.0  # seconds
STEADY = 60.0
"""Seconds after which a child that runs counts as healthy: its next restart is the first one again."""


@dataclass
class Child:
    """A program that is kept running."""

    name: str
    arguments: Sequence[str]
    """Arguments of ``python -P``, such as ``("-m", "api")``."""
    environment: Mapping[str, str]
    log: Path
    fds: tuple[int, ...] = ()
    orphan_signal: signal.Signals = signal.SIGKILL
    """The signal that the kernel sends it when this process ends (Linux)."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    restarts: int = field(default=0, init=False)
    _started: float = field(default=0.0, init=False)
    _due: float | None = field(default=None, init=False)

    def start(self) -> None:
        """Starts it in its own session: the terminal's Ctrl-C reaches this process alone, which stops all in order."""
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} adder up starts {self.name}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                # -P: a folder named api/, jobs/ or worker/ in the current directory is not ours.
                [sys.executable, "-P", *self.arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.fds,
                start_new_session=True,
                umask=0o077,  # what the service keeps is its user's alone
                preexec_fn=die_with_parent(self.orphan_signal),
            )
        self._started = time.monotonic()
        self._due = None

    @property
    def exit_code(self) -> int | None:
        """Its exit status (negative: the signal that ended it), or None while it runs."""
        return None if self.process is None else self.process.poll()

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.process is not None and self.process.poll() is None

    def tend(self, say: Callable[[str], None]) -> None:
        """Starts it again if it has ended, after a pause that grows with every failure: 1, 2, 4 … 30 s."""
        if self.running:
            return
        now = time.monotonic()
        if self._due is None:
            if now - self._started > STEADY:
                self.restarts = 0
            pause = min(2.0 ** min(self.restarts, 10), LONGEST_BACKOFF)
            self.restarts += 1
            self._due = now + pause
            self.kill()
            say(
                f"{self.name} ended unexpectedly ({describe(self.exit_code)}), "
                f"starting it again in {pause:g} s; see {self.log}"
            )
        elif now >= self._due:
            self.start()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the child alone; it stops what it has started."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kills its whole process group, whether or not the child itself still runs."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def describe(code: int | None) -> str:
    """An exit status in words."""
    if code is None:
        return "not started"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A ``preexec_fn`` that makes Linux send the child a signal when this process dies, even by SIGKILL."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arrange
