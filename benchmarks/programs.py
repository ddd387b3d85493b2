"""Programs that a benchmark starts: they log to a file, and end with it however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn` that makes Linux send the child this signal when its parent dies."""
    return lambda: _libc.prctl(PR_SET_PDEATHSIG, number)


@contextmanager
def program(
    arguments: Sequence[str | Path], environment: Mapping[str, str], log: Path, *, fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs it during a `with` block; SIGTERM at its end, SIGKILL if that does not help."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(fds),
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python(*arguments: str | Path) -> list[str]:
    """This interpreter; -P: a folder named api/ or jobs/ in the current directory is not ours."""
    return [sys.executable, "-P", *(str(argument) for argument in arguments)]


def server_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these `ADDER_…` settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ADDER_")}
    return inherited | {f"ADDER_{name.upper()}": value for name, value in settings.items()}


def log_end(log: Path, characters: int = 3000) -> str:
    try:
        return f"the end of {log}:\n{log.read_text(errors='replace')[-characters:]}"
    except OSError as error:
        return f"no log: {error}"
