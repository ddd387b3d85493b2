"""The worker's side of the template: starts it, asks it for processes, replaces it when it dies or the code changes."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import structlog

from worker.backoff import Backoff
from worker.handle import Files, Way, offer_to_oom_killer
from worker.template import wire
from worker.variables import child_environment

PR_SET_CHILD_SUBREAPER = 36
CHILD = "worker.child"
ANSWER_SECONDS = 5.0
"""How long the template may take to answer at most; a fork takes milliseconds. Then it is killed, as it must have been
stopped or cannot get memory."""
START_SECONDS = 120.0
"""Processor time that the template may use to import what jobs need, and how long it may use none meanwhile. A limit by
the clock would end it on a machine that has much else to do, and there each job would load torch itself."""
LOOK_SECONDS = 1.0
"""Pause between two looks at that."""
CPUCLOCK_SCHED = 2
RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 600.0
"""The first and the longest pause after a start that failed."""
PACKAGES = ("addercore", "jobs", "worker")
"""Packages whose files must still be those that the template has imported."""
LIBRARIES = ("torch", "numpy")
"""Libraries that are compared by the time at which they were installed."""

log = structlog.get_logger()


class TemplateLost(Exception):
    """The template cannot fork this process; the job is to be spawned."""


class Template:
    """Keeps one template program, from which `fork` starts jobs. Thread-safe.

    Args:
        child: the module whose `main` runs a job.
        packages: the template is replaced when a file of them changes.
        answer_seconds: how long it may take to answer. The attempt that asks does not renew its lease meanwhile.
        variables: further variables of this process that it sees (`variables.passes`).
        credentials: of the user that it runs as, and so the jobs (`Isolation.credentials`).
    """

    def __init__(
        self,
        child: str = CHILD,
        packages: Sequence[str] = PACKAGES,
        answer_seconds: float = ANSWER_SECONDS,
        variables: Sequence[str] = (),
        credentials: Mapping[str, Any] | None = None,
    ) -> None:
        self._child, self._packages, self._answer_seconds = child, packages, answer_seconds
        self._variables, self._credentials = variables, credentials or {}
        self._lock = threading.Lock()
        self._program: _Program | None = None
        self._stamp = 0
        self._starting: threading.Thread | None = None
        self._retry_at = 0.0
        self._pause = Backoff(RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The program's process; None while there is none."""
        program = self._program
        return None if program is None or not program.alive else program.pid

    @property
    def machine(self) -> Mapping[str, Any]:
        """What `worker.probe.probe` answers; empty where the program does not run, or must not look at a GPU."""
        program = self._program
        return {} if program is None else program.machine

    @property
    def settled(self) -> bool:
        """Whether `fork` answers at once, with a process or with `TemplateLost`."""
        return self._starting is None

    def keep(self) -> None:
        """Starts the program in the background if it does not run, and replaces it if the installed code has changed.

        Returns at once. After a start that failed it waits before it tries again.
        """
        with self._lock:
            if self._closed or self._starting is not None:
                return
            if self._program is not None:
                if self._program.ended or not self._program.alive:  # or whoever asked it last has found that
                    log.warning("template.lost", template=self._program.pid)
                elif code_stamp(self._packages) != self._stamp:
                    log.info("template.replaced", reason="the installed code has changed")
                else:
                    return
                self._program.kill()
                self._program = None
            if time.monotonic() < self._retry_at:
                return
            starting = threading.Thread(target=self._start, name="template", daemon=True)
            try:
                starting.start()
            except RuntimeError as error:  # no thread can be started just now
                log.warning("template.failed", error=str(error))
            else:
                self._starting = starting

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], handles: Files) -> Forked:
        """Forks a process that runs a job.

        Raises:
            TemplateLost: there is no template, or it cannot fork. `keep` has been called.
        """
        self.keep()
        with self._lock:
            program = self._program
        if program is None or not program.alive:
            raise TemplateLost("the template does not run")
        try:
            return program.fork(arguments, environment, handles)
        except TemplateLost:
            self.keep()
            raise
        except OSError as error:  # no descriptor is left, or the worker's folder is gone
            raise TemplateLost(str(error)) from error

    def close(self) -> None:
        """Ends the program. Processes that were forked from it go on."""
        with self._lock:
            self._closed = True
            program, self._program = self._program, None
        if program is not None:
            program.kill()

    def _start(self) -> None:
        stamp = 0
        program: _Program | None = None
        try:
            stamp = code_stamp(self._packages)
            program = _Program(self._child, self._answer_seconds, self._variables, self._credentials)
            log.info("template.ready", template=program.pid)
        except Exception as error:  # noqa: BLE001  (said in the log; jobs are spawned)
            log.warning("template.failed", error=str(error))
        with self._lock:
            self._starting = None
            if program is None:
                self._retry_at = time.monotonic() + self._pause.grow()
            else:
                self._pause.reset()
            self._program, self._stamp = program, stamp
            unwanted = self._closed
        if program is not None and unwanted:
            program.kill()


class Forked:
    """A job's process that was forked from the template."""

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
    """One run of `worker.template.program`. Raises TemplateLost if it does not get ready."""

    def __init__(
        self, child: str, answer_seconds: float, variables: Sequence[str], credentials: Mapping[str, Any]
    ) -> None:
        os.close(os.pidfd_open(os.getpid()))  # an older kernel says now that it cannot do it
        adopt_orphans()
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, self._lifeline = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [
                    sys.executable, "-m", "worker.template.program",
                    "--socket-fd", str(theirs.fileno()), "--lifeline-fd", str(lifeline),
                    "--child", child,
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                process_group=0,
                env=child_environment(os.environ, 1, also=variables),
                **credentials,
            )  # fmt: skip
        except BaseException:  # also an interrupt: no descriptor may stay open
            self._channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.alive = True
        offer_to_oom_killer(self.pid)
        try:
            self._await_start(START_SECONDS)
            self.machine: Mapping[str, Any] = self._receive(self._answer_seconds)["machine"]
        except TemplateLost:
            self._kill()
            raise

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended by itself or by somebody else."""
        return self._popen.poll() is not None

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
        """The wait status of a child that has ended. If the template has died, the child is this process's own."""
        try:
            status: int = self._ask({"do": "reap", "pid": pid})["status"]
        except TemplateLost:
            try:
                status = os.waitpid(pid, 0)[1]
            except ChildProcessError:  # the template died after it had reaped the child, and before it could answer
                status = int(signal.SIGKILL)
        return status

    def kill(self) -> None:
        """Ends the program; its children become children of this process."""
        with self._lock:
            self._kill()

    def _ask(self, request: dict[str, Any], handles: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            if not self.alive:
                raise TemplateLost("the template has ended")
            try:
                wire.send(self._channel, request, handles)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise TemplateLost("the environment is too large for a message to the template") from None
                self._kill()
                raise TemplateLost(f"the template cannot be asked: {error}") from None
            return self._receive(self._answer_seconds)

    def _await_start(self, seconds: float) -> None:
        """Returns once the program has something to say or has ended."""
        channel = select.poll()
        channel.register(self._channel, select.POLLIN)
        used, moved = 0.0, time.monotonic()
        while not channel.poll(1000 * LOOK_SECONDS):
            now, before = _cpu_seconds(self.pid), used
            if now > before:
                used, moved = now, time.monotonic()
            if used > seconds or time.monotonic() - moved > seconds:
                raise TemplateLost(f"the template does not get ready; it has used {used:.1f} s of processor time")

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


def _cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process that has not been waited for."""
    # The id of another process's CPU clock, as clock_getcpuclockid(3) makes it (linux/posix-timers.h).
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def adopt_orphans() -> None:
    """Has the kernel hand the children of a template that dies to this process (Linux, prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def code_stamp(packages: Sequence[str] = PACKAGES) -> int:
    """A number that changes when a file of `packages` changes, or one of `LIBRARIES` is installed again."""
    found: list[tuple[str, int, int]] = []
    for package in packages:
        for folder, names, leaves in os.walk(_folder(package)):
            names[:] = [name for name in names if name != "__pycache__"]
            paths = [os.path.join(folder, leaf) for leaf in leaves if leaf.endswith((".py", ".so"))]
            found += [_version(path) for path in paths]
    for library in LIBRARIES:
        found.append(_version(os.path.join(_folder(library), "__init__.py")))
    return hash(tuple(sorted(found)))


def _folder(package: str) -> str:
    """Where a package lies; an empty path if it is not installed. Does not import it."""
    spec = find_spec(package)
    return "" if spec is None or not spec.submodule_search_locations else spec.submodule_search_locations[0]


def _version(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:  # it is just being replaced
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size
