"""Real trainings of the library under the faults that end an attempt, compared byte by byte with an untouched one."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.faults.check import observed, read
from tests.faults.fault import Fault, Injection, ended, now_ms
from tests.faults.faults.checkpoints import tear
from tests.faults.faults.kills import KILLED, Victim, kill
from tests.faults.plan import Strike
from tests.faults.stage import Options, Running, Stage
from tests.support.servers import wait_until

SPEC: dict[str, Any] = {
    "epochs": 10,
    "seed": 4,
    "augment": "crop",
    "resources": {"loader_workers": 1},
    "checkpoint": {"every_epochs": 2, "every_seconds": 0.5},
}
SAME = ("model.safetensors", "model.json")
"""Artifacts that hold nothing of time or place."""


class Training(Fault):
    """Two trainings at a time; each strike hits one of them at a random instant after its first checkpoint."""

    options = Options(workers=2, lease_seconds=4.0, patience=240.0)

    def before(self, stage: Stage) -> None:
        job = stage.submit_real(**SPEC)
        stage.settle()
        record = stage.ask(lambda session: read(session, job.id))
        self.untouched = observed(record, SAME)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        running = self._under_way(stage, strike)
        time.sleep(0.4 * strike.pause)
        injection = Injection(now_ms(), running.job, running.attempt, {"running": running})
        self.fault(stage, strike, running, injection)
        return injection

    def _under_way(self, stage: Stage, strike: Strike) -> Running:
        """An attempt that has added a checkpoint of its own, or the job's first."""
        while True:
            if stage.unfinished() < 2:
                stage.submit_real(**SPEC)
            ready = [running for running in stage.running() if self._fresh(stage, running)]
            if ready:
                return strike.choose(ready)
            time.sleep(0.05)

    def _fresh(self, stage: Stage, running: Running) -> bool:
        began = stage.attempt(running.job, running.attempt).started_at
        return any(checkpoint.created_at > began for checkpoint in stage.checkpoints(running.job))

    def fault(self, stage: Stage, strike: Strike, running: Running, injection: Injection) -> None:
        raise NotImplementedError


class TrainingKilled(Training):
    name = "real training: kill -9 of the training process"
    about = (
        "addercore trains LeNet-5-BN on digits with augmentation; the process is killed at a random instant, mid-epoch."
    )
    proof = "the attempt's row: signal 9"
    times = 20
    victim: Victim = "training"

    def fault(self, stage: Stage, strike: Strike, running: Running, injection: Injection) -> None:
        kill(running, self.victim)
        if self.victim != "training":
            running.worker.process.wait(timeout=20)
            stage.replace(running.worker)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        attempt = ended(stage, injection)
        if KILLED[self.victim] in (attempt.message or ""):
            return f"attempt {attempt.attempt}: {attempt.cause}, {attempt.message}"
        return f"attempt {attempt.attempt} had just ended" if attempt.cause == "succeeded" else ""


class HostKilled(TrainingKilled):
    name = "real training: kill -9 of the host"
    about = "Worker and training are killed at one random instant."
    proof = "the attempt's row: its worker stopped renewing the lease"
    times = 6
    victim = "host"


class WorkerStopped(Training):
    name = "real training: SIGSTOP past the lease"
    about = "The worker and its training are stopped until another worker has taken the job, then go on."
    proof = "the worker's log after it woke: attempt.fenced"
    times = 3

    def fault(self, stage: Stage, strike: Strike, running: Running, injection: Injection) -> None:
        running.worker.signal(signal.SIGSTOP)
        os.killpg(running.child, signal.SIGSTOP)
        wait_until(lambda: stage.job(running.job).attempt > running.attempt, "another worker to take the job", 90)
        os.killpg(running.child, signal.SIGCONT)
        running.worker.signal(signal.SIGCONT)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        said = injection.facts["running"].worker.said()
        return next((line for line in said if "attempt.fenced" in line and injection.job in line), "")


class Torn(Training):
    name = "real training: newest checkpoint torn, its host killed"
    about = "The stored file of the newest checkpoint is cut short or has one bit flipped while nobody owns the job."
    proof = "the job's events: checkpoint_lost"
    times = 3

    def _fresh(self, stage: Stage, running: Running) -> bool:
        return super()._fresh(stage, running) and len(stage.checkpoints(running.job)) >= 2

    def fault(self, stage: Stage, strike: Strike, running: Running, injection: Injection) -> None:
        kill(running, "host")
        running.worker.process.wait(timeout=20)
        newest = stage.checkpoints(running.job)[0]
        injection.facts["how"] = tear(stage.blob(newest.sha256), strike.pick)
        stage.replace(running.worker)

    def confirm(self, stage: Stage, injection: Injection) -> str:
        events = stage.client.jobs.events(injection.job)
        lost = next((event.message for event in events if event.type == "checkpoint_lost"), "")
        return f"{injection.facts['how']}: {lost}" if lost else ""


FAULTS = (TrainingKilled(), HostKilled(), WorkerStopped(), Torn())
