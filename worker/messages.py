"""The child's side of `worker.protocol`: writing messages, SIGTERM, and the lifeline to the supervisor."""

from __future__ import annotations

import os
import signal
import threading

from pydantic import BaseModel

from addercore.lifeline import die_when_closed


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
    """Kills the whole process group once the supervisor's end of the pipe is closed, however the supervisor ended."""
    die_when_closed(lifeline, group=True)
