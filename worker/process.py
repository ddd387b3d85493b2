"""A training process. It has its own process group and always ends, at the latest when its supervisor does."""

from __future__ import annotations

import codecs
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from jobs.scheduling import kind_of
from worker.handle import Files, Handle, Spawned, Way, offer_to_oom_killer, reap_orphans
from worker.memory import OomWatch
from worker.template.client import Template, TemplateLost
from worker.variables import child_environment

READ_BYTES = 64 * 1024

log = structlog.get_logger()


class ChildProcess:
    """A process that runs one attempt: forked from the worker's template, or spawned by a command. It is never a fork
    of the worker, which would copy the worker's threads, locks and CUDA state.

    Args:
        command: starts the program where a process is spawned.
        order: the file with the child's orders (`protocol.JobOrder`).
        device: the worker's device that the child may use, `cpu` or `cuda:1`. It sees no other GPU.
        backend: the kernel backend that the child must use; None: the child chooses.
        template: what the child is forked from. The child is spawned if this is None or cannot fork just now, and on a
            GPU, where starting CUDA takes longer than what a fork saves.
        variables: further variables of this process that the child sees (`variables.passes`).
        credentials: of the user that a spawned child runs as (`Isolation.credentials`); a template has its own.
        on_message: called with each line of the messages pipe, in order, on one thread. While it blocks, the pipe
            fills up and the child waits.
        on_log: called with pieces of stdout and stderr, on another thread.
        on_end: called once, after the process has been reaped and both pipes have been read to their end.
    """

    def __init__(
        self,
        command: Sequence[str],
        order: Path,
        *,
        threads: int,
        device: str = "cpu",
        backend: str | None = None,
        template: Template | None = None,
        variables: Sequence[str] = (),
        credentials: Mapping[str, Any] | None = None,
        on_message: Callable[[bytes], None],
        on_log: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._oom = OomWatch()
        self._process, pipes = start(
            command,
            ("--job", str(order)),
            child_environment(os.environ, threads, device, backend, variables),
            template if kind_of(device) == "cpu" else None,
            credentials,
        )
        self._lifeline = pipes.lifeline
        self.returncode: int | None = None
        """Exit status; negative: the signal that ended it. None while it runs."""
        self._signals = threading.Lock()
        """Held to send a signal and to reap the child: a signal finds either the child or its `returncode`."""
        self._reaped = threading.Event()
        offer_to_oom_killer(self.pid)
        self._threads = [
            threading.Thread(target=self._read_messages, args=(pipes.messages, on_message), daemon=True),
            threading.Thread(target=self._read_log, args=(pipes.output, on_log), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._reap, args=(on_end,), daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def way(self) -> Way:
        """How it was started."""
        return self._process.way

    def terminate(self) -> None:
        """Asks the child to save its state and exit. Does nothing once the child has been reaped."""
        with self._signals:
            if self.returncode is None:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the whole process group, data-loader processes included. Does nothing once the child has been reaped:
        `_reap` has killed the group by then, and the kernel may have given its number to somebody else."""
        with self._signals:
            if self.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)

    def sample_oom_kills(self) -> None:
        """Call it every few seconds while the child runs; `out_of_memory` needs that."""
        self._oom.sample()

    def data_bytes(self) -> int:
        """Bytes of the child that RLIMIT_DATA counts, 0 once it has ended."""
        with self._signals:
            if self.returncode is not None:
                return 0
            try:
                lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            except OSError:
                return 0
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)

    def out_of_memory(self) -> bool:
        """Whether the kernel's OOM killer ended the child or one of its processes. Call it once."""
        return self._oom.struck()

    def close(self) -> None:
        """Kills what is left of the group, waits until the child is reaped and closes the lifeline."""
        self.kill()
        self._reaped.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _read_messages(self, handle: int, on_message: Callable[[bytes], None]) -> None:
        with os.fdopen(handle, "rb") as pipe:
            for line in pipe:
                on_message(line)

    def _read_log(self, handle: int, on_log: Callable[[str], None]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with os.fdopen(handle, "rb") as pipe:
            while piece := os.read(pipe.fileno(), READ_BYTES):
                # PostgreSQL's text holds no NUL.
                on_log(decoder.decode(piece).replace("\x00", "�"))

    def _reap(self, on_end: Callable[[], None]) -> None:
        # The child stays a zombie until it is reaped under the lock: until then its pid and its group stay its own, so
        # that no signal reaches another process.
        self._process.wait_ended()
        # Grandchildren may hold the pipes open: without their parent they have nothing left to do.
        self.kill()
        with self._signals:
            self.returncode = self._process.reap()
            reap_orphans(self.pid)
        self._reaped.set()
        for thread in self._threads:
            thread.join()
        on_end()


@dataclass(frozen=True)
class Pipes:
    """The worker's ends of the pipes to a job's process."""

    output: int
    messages: int
    lifeline: int

    def close(self) -> None:
        """Ends the process too, if there is one, as it has lost its lifeline."""
        for handle in (self.output, self.messages, self.lifeline):
            os.close(handle)


def start(
    command: Sequence[str],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    template: Template | None,
    credentials: Mapping[str, Any] | None = None,
) -> tuple[Handle, Pipes]:
    """Starts the process of one attempt: forks it from the template, or else spawns it by the command.

    Each try has pipes of its own. A template that is given up may have forked the process before it could say so; that
    process dies with its pipes.
    """
    if template is not None:
        try:
            return connected(partial(template.fork, arguments, environment))
        except TemplateLost as error:
            log.warning("child.spawned", reason=str(error))
    return connected(partial(Spawned, command, arguments, environment, credentials or {}))


def connected(begin: Callable[[Files], Handle]) -> tuple[Handle, Pipes]:
    """Has `begin` start a process with the other ends of new pipes."""
    output, output_write = os.pipe()
    messages, messages_write = os.pipe()
    lifeline_read, lifeline = os.pipe()
    pipes = Pipes(output, messages, lifeline)
    try:
        return begin(Files(output_write, messages_write, lifeline_read)), pipes
    except BaseException:  # also an interrupt: no descriptor may stay open
        pipes.close()
        raise
    finally:
        for handle in (output_write, messages_write, lifeline_read):
            os.close(handle)
