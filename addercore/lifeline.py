"""Lifelines: a process ends once the writing end of a pipe is closed, however its holder ended. Loads no torch."""

import fcntl
import os
import select
import signal
import sys
import threading
from typing import Final

F_SETSIG: Final = 10
"""Linux's fcntl command that chooses the signal (fcntl(2)); Python has no name for it."""


def die_when_closed(pipe: int, *, group: bool) -> None:
    """Has SIGKILL end this process once the last writing end of `pipe` is closed.

    On Linux the kernel does it (fcntl(2), F_SETSIG): a process that hangs in a library and holds the interpreter's lock
    would never read its lifeline. Unlike a parent-death signal it does not depend on who the parent is, nor on which
    of its threads lives on. Elsewhere a thread waits.

    Args:
        pipe: the reading end.
        group: the whole process group is ended, and not this process alone.
    """
    if not signal_when_closed(pipe, group=group):

        def wait() -> None:
            while os.read(pipe, 1):
                pass
            _end(group)

        threading.Thread(target=wait, name="lifeline", daemon=True).start()


def signal_when_closed(pipe: int, *, group: bool) -> bool:
    """Has the kernel do it, and starts no thread. Returns False where the system cannot."""
    if sys.platform != "linux":
        return False
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
    fcntl.fcntl(pipe, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:  # closed before the kernel was asked
        _end(group)
    return True


def _end(group: bool) -> None:
    if group:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
