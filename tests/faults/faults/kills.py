"""kill -9 at random instants: of the training process, of the worker that supervises it, of both at once."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

from tests.faults.fault import Fault, Injection, ended, now_ms
from tests.faults.plan import Strike
from tests.faults.stage import Running, Stage, alive, with_patience

Victim = Literal["training", "worker", "host"]
KILLED: dict[Victim, str] = {"training": "signal 9", "worker": "stopped renewing", "host": "stopped renewing"}
"""What the row of the attempt says afterwards."""
REACHES_CHILD_SECONDS = 10.0


def kill(running: Running, victim: Victim) -> None:
    """kill -9, with nothing between the processes of a host."""
    if victim in ("worker", "host"):
        running.worker.signal(signal.SIGKILL)
    if victim in ("training", "host"):
        try:
            os.killpg(running.child, signal.SIGKILL)
        except ProcessLookupError:
            return


def some_running(stage: Stage, strike: Strike) -> Running:
    while not (running := stage.running()):
        time.sleep(0.02)
    return strike.choose(running)


class KilledAtRandom(Fault):
    victim: Victim
    gap: float
    """Mean seconds between two kills."""
    times = 100
    waves = 7

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        time.sleep(self.gap * strike.pause)
        running = some_running(stage, strike)
        injection = Injection(now_ms(), running.job, running.attempt, {"running": running})
        kill(running, self.victim)
        if self.victim != "training":
            running.worker.process.wait(timeout=20)
            stage.replace(running.worker)
        return injection

    def confirm(self, stage: Stage, injection: Injection) -> str:
        attempt = ended(stage, injection)
        if KILLED[self.victim] in (attempt.message or ""):
            return f"attempt {attempt.attempt}: {attempt.cause}, {attempt.message}"
        worker = injection.facts["running"].worker
        if attempt.cause == "succeeded" and (self.victim == "training" or worker.killed):
            return f"attempt {attempt.attempt} had just ended: {attempt.message}"
        return ""

    def wrong(self, stage: Stage, injection: Injection) -> list[str]:
        """The training must die with its worker."""
        child = injection.facts["running"].child
        gone = with_patience(lambda: not alive(child), REACHES_CHILD_SECONDS)
        return [] if gone else [f"the training process {child} of {injection.job} outlived its worker"]


class TrainingKilled(KilledAtRandom):
    name = "kill -9 of the training process"
    about = "A training process chosen at random is killed at a random instant."
    proof = "the attempt's row: signal 9 ended the training process"
    victim = "training"
    gap = 0.25


class WorkerKilled(KilledAtRandom):
    name = "kill -9 of the worker (supervisor)"
    about = "A worker that runs a job is killed at a random instant; its training must die with it."
    proof = "the attempt's row: its worker stopped renewing the lease; the kernel reaped the worker with signal 9"
    victim = "worker"
    gap = 0.8


class HostKilled(KilledAtRandom):
    name = "kill -9 of a whole host"
    about = "A worker and the processes of its job are killed at one random instant."
    proof = "as for the worker"
    victim = "host"
    gap = 0.8


FAULTS = (TrainingKilled(), WorkerKilled(), HostKilled())
