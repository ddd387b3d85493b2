"""The child's side of `worker.protocol`: writing messages, SIGTERM, and the lifeline to the supervisor."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading

from pydantic import BaseModel

F_SETSIG = 10
"""Linux's fcntl command that chooses the signal (fcntl(2)); Python has no name for it."""


class Messages:
    """Writes messages to the supervisor's pipe, in whole lines. Waits while the pipe is full."""

    def __init__(self, handle: int) -> None:
        self._pipe = os.fdopen(handle, "wb", buffering=0)
        self._lock = threading.Lock()

    def send(self, message: BaseModel) -> None:
        line = memoryview(message.model_dump_json().encode() + b"\n")
        with self._lock:
            while line:
                line = line[self._pipe.write(line) :]


def stop_on_sigterm() -> threading.Event:
    """An event that SIGTERM sets."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C in a terminal
    return stop


def die_with_supervisor(lifeline: int) -> None:
    """Kills the whole process group once the supervisor's end of the pipe is closed, however the supervisor ended.

    On Linux the kernel does it: a training that hangs in a library and holds the interpreter's lock would never read
    its lifeline. Elsewhere a thread waits.
    """

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    if not die_when_closed(lifeline):
        threading.Thread(target=wait, name="lifeline", daemon=True).start()


def die_when_closed(pipe: int) -> bool:
    """Has the kernel kill this process group once the last writing end of `pipe` is closed (fcntl(2), F_SETSIG).

    Unlike a parent-death signal it does not depend on who the parent is, nor on which of its threads lives on.

    Returns:
        False where the system has no such signal.
    """
    if sys.platform != "linux":
        return False
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:  # closed before the kernel was asked
        os.killpg(0, signal.SIGKILL)
    return True
