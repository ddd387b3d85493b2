"""The kernel's OOM killer in a cgroup with a real limit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.states import Status
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage

LIMIT_MB = 400
HUNGRY_MB = 800
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Group:
    """A memory cgroup of our own: version 2 where it has the controller, else version 1."""

    def __init__(self, megabytes: int = LIMIT_MB) -> None:
        self.v2 = (V2 / "cgroup.controllers").exists() and "memory" in (V2 / "cgroup.controllers").read_text()
        self.folder = (V2 if self.v2 else V1) / f"adder-faults-{os.getpid()}"
        self.folder.mkdir()
        (self.folder / ("memory.max" if self.v2 else "memory.limit_in_bytes")).write_text(str(megabytes * 2**20))

    def enter(self) -> None:
        """Moves the calling process there."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        lines = (self.folder / ("memory.events" if self.v2 else "memory.oom_control")).read_text().splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def close(self) -> None:
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except OSError:  # its processes are still leaving
                time.sleep(0.05)


@contextmanager
def group(megabytes: int = LIMIT_MB) -> Iterator[Group]:
    made = Group(megabytes)
    try:
        yield made
    finally:
        made.close()


class OutOfMemory(Fault):
    name = "OOM kill of the training process"
    about = (
        f"A worker lives in a cgroup of {LIMIT_MB} MiB; one job in two wants {HUNGRY_MB} MiB, and the kernel kills it."
    )
    proof = "the cgroup's counter oom_kill; the attempt's row says out_of_memory, not a plain kill -9"
    times = 5
    options = Options(workers=0)
    task = Task(steps=20, ms=30)

    def unavailable(self) -> str:
        try:
            with group():
                return ""
        except OSError as error:
            return f"no memory cgroup can be made here: {error}"

    def before(self, stage: Stage) -> None:
        self._group = Group()
        stage.cleanup.callback(self._group.close)
        stage.add_worker(before=self._group.enter)
        stage.ready()

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        submit_next(stage, self.task)
        before = self._group.kills()
        hungry = Task(**{**vars(self.task), "seed": len(stage.accepted), "eat_mb": HUNGRY_MB})
        job = stage.submit(hungry, ends=(Status.FAILED,))
        submit_next(stage, self.task)
        stage.settle()
        return Injection(now_ms(), job.id, 1, {"kills": self._group.kills() - before})

    def confirm(self, stage: Stage, injection: Injection) -> str:
        attempt = ended(stage, injection)
        if injection.facts["kills"] >= 1 and attempt.cause == "out_of_memory":
            return f"oom_kill rose by {injection.facts['kills']}; attempt 1: {attempt.cause}, {attempt.message}"
        return ""

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        """The job's own failure is final at once: it must not kill its worker again."""
        attempts = stage.job(injection.job).attempt
        return [] if attempts == 1 else [f"{injection.job} was tried {attempts} times"]

    def recovery_ms(self, stage: Stage, injection: Injection) -> int | None:
        return None


FAULTS = (OutOfMemory(),)
