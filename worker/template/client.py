"""The worker's side of the template: starts it, asks it for processes, replaces it when it dies or the code changes."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog

from worker.handle import Files, Way
from worker.template import wire

PR_SET_CHILD_SUBREAPER = 36
ANSWER_SECONDS = 15.0
"""How long the template may take to answer. Then it is killed: it was stopped, or the machine has no memory for it."""
START_SECONDS = 120.0
"""How long it may take to import what jobs need."""
RETRY_SECONDS = 30.0
"""From a start that failed to the next."""
PACKAGES = ("addercore", "jobs", "worker")
"""Whose files must be those that the template has imported."""

log = structlog.get_logger()


class TemplateLost(Exception):
    """The template cannot fork this process; the job is to be spawned."""


class Template:
    """One template at a time, from which `fork` starts jobs. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: _Program | None = None
        self._stamp = 0
        self._starting: threading.Thread | None = None
        self._failed_at: float | None = None
        self._closed = False

    def start(self) -> None:
        """Starts the program in the background, unless it runs, is being started, or has just failed to start."""
        with self._lock:
            if self._closed or self._starting is not None or (self._program is not None and self._program.alive):
                return
            if self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_SECONDS:
                return
            self._starting = threading.Thread(target=self._start, name="template", daemon=True)
            self._starting.start()

    @property
    def settled(self) -> bool:
        """Whether `fork` would answer at once, with a process or with `TemplateLost`."""
        return self._starting is None

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], handles: Files) -> Forked:
        """A process of `worker.child` with these arguments. Raises TemplateLost where there is none to be had."""
        self._replace_if_stale()
        with self._lock:
            program = self._program
        if program is None or not program.alive:
            self.start()
            raise TemplateLost("the template does not run")
        try:
            return program.fork(arguments, environment, handles)
        except TemplateLost:
            self.start()
            raise

    def close(self) -> None:
        """Ends the program. Processes that were forked from it go on."""
        with self._lock:
            self._closed = True
            program, self._program = self._program, None
        if program is not None:
            program.kill()

    def _start(self) -> None:
        stamp = code_stamp()
        program: _Program | None = None
        try:
            program = _Program()
        except (OSError, TemplateLost) as error:
            log.warning("template.failed", error=str(error))
        with self._lock:
            self._starting = None
            self._failed_at = time.monotonic() if program is None else None
            unwanted, self._program, self._stamp = self._closed, program, stamp
        if program is not None:
            log.info("template.ready", template=program.pid)
            if unwanted:
                program.kill()

    def _replace_if_stale(self) -> None:
        """A job must run the code that is installed when it starts, as a spawned one does."""
        with self._lock:
            program, stamp = self._program, self._stamp
        if program is not None and program.alive and code_stamp() != stamp:
            log.info("template.replaced", reason="the installed code has changed")
            program.kill()


class Forked:
    """A process that was forked from the template."""

    way: Way = "forked"

    def __init__(self, program: _Program, pid: int) -> None:
        self._program = program
        self.pid = pid
        self._ended = os.pidfd_open(pid)  # a number that cannot be reused: the child stays a zombie until it is reaped

    def wait_ended(self) -> None:
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        poll.poll()
        os.close(self._ended)

    def reap(self) -> int:
        return os.waitstatus_to_exitcode(self._program.reap(self.pid))


class _Program:
    """One run of `worker.template.program`."""

    def __init__(self) -> None:
        adopt_orphans()
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, self._lifeline = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [
                    sys.executable, "-m", "worker.template.program",
                    "--socket-fd", str(theirs.fileno()), "--lifeline-fd", str(lifeline),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                process_group=0,
                env=os.environ | FIXED,
            )  # fmt: skip
        except BaseException:
            self._channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.alive = True
        self._receive(START_SECONDS)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], handles: Files) -> Forked:
        request = {
            "do": "fork",
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": os.getcwd(),
        }
        answer = self._ask(request, (handles.output, handles.messages, handles.lifeline))
        return Forked(self, answer["pid"])

    def reap(self, pid: int) -> int:
        """The wait status of a child that has ended. Of a template that has died this process inherits the children."""
        try:
            status: int = self._ask({"do": "reap", "pid": pid})["status"]
        except TemplateLost:
            status = os.waitpid(pid, 0)[1]
        return status

    def kill(self) -> None:
        """Ends it for good; its children become this process's."""
        with self._lock:
            self._kill()

    def _ask(self, request: dict[str, Any], handles: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            if not self.alive:
                raise TemplateLost("the template has ended")
            try:
                wire.send(self._channel, request, handles)
            except OSError as error:
                self._kill()
                raise TemplateLost(f"the template cannot be asked: {error}") from None
            return self._receive(ANSWER_SECONDS)

    def _receive(self, seconds: float) -> dict[str, Any]:
        self._channel.settimeout(seconds)
        try:
            answer, _ = wire.receive(self._channel)
        except OSError as error:
            self._kill()
            raise TemplateLost(f"the template does not answer: {error or 'it took too long'}") from None
        if answer is None:
            self._kill()
            raise TemplateLost(f"the template has ended (exit status {self._popen.returncode})")
        if "error" in answer:
            raise TemplateLost(answer["error"])
        return answer

    def _kill(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()  # from here on its children are this process's
        self._channel.close()
        os.close(self._lifeline)


FIXED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # it starts its threads when it is loaded
    "OMP_WAIT_POLICY": "PASSIVE",  # as in `process.child_environment`: read when the library is loaded
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    "CUDA_VISIBLE_DEVICES": "",  # the template never starts CUDA; each child gets its own GPU before it does
}
"""What libraries and the interpreter read once, when they are loaded."""


def adopt_orphans() -> None:
    """Has the kernel hand the children of a template that dies to this process (Linux, prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def code_stamp() -> int:
    """A number that changes when a file of the packages that jobs run does."""
    found = []
    for package in PACKAGES:
        for folder, names, leaves in os.walk(str(files(package))):
            names[:] = [name for name in names if name != "__pycache__"]
            for leaf in leaves:
                if leaf.endswith((".py", ".so")):
                    status = Path(folder, leaf).stat()
                    found.append((folder, leaf, status.st_mtime_ns, status.st_size))
    return hash(tuple(sorted(found)))
