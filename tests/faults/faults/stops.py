"""SIGSTOP until the lease is over, then SIGCONT: who was away changes nothing when he comes back."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from jobs.states import FINAL
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, keep_busy, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import PATIENCE_SECONDS, Options, Running, Stage
from tests.support.servers import wait_until


class WorkerStopped(Fault):
    name = "SIGSTOP past the lease, then SIGCONT"
    about = (
        "A worker (every second time with its training) is stopped until another one has taken its job, then goes on."
    )
    proof = "the worker's log after it woke: attempt.fenced"
    times = 12
    short = 2
    task = Task(steps=40, ms=60)
    options = Options(workers=3)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        whole_host = strike.number % 2 == 1
        # On a busy machine a job may end, or be lost, between the look at it and the signal: then the next one is hit.
        while True:
            keep_busy(stage, self.task, 2)
            running = stage.wait_running(submit_next(stage, self.task).id)
            time.sleep(0.3 * strike.pause)
            stop_or_go(running, signal.SIGSTOP, whole_host)
            injection = Injection(now_ms(), running.job, running.attempt, {"worker": running.worker})
            taken = self._taken(stage, running)
            injection.facts["lines"] = len(running.worker.said())
            stop_or_go(running, signal.SIGCONT, whole_host)
            if taken:
                return injection

    def _taken(self, stage: Stage, running: Running) -> bool:
        """Waits for another worker to take the job. False: it had not been this attempt's any more, or it had ended."""
        before = stage.job(running.job)
        if before.attempt != running.attempt or before.status in FINAL:
            return False

        def over() -> bool:
            job = stage.job(running.job)
            return job.attempt > running.attempt or job.status in FINAL

        # On PostgreSQL a transaction that stands still is ended after 15 s; then the job can be taken.
        wait_until(over, "another worker to take the job", PATIENCE_SECONDS)
        return stage.job(running.job).attempt > running.attempt

    def confirm(self, stage: Stage, injection: Injection) -> str:
        later = injection.facts["worker"].said()[injection.facts["lines"] :]
        return next((line for line in later if "attempt.fenced" in line and injection.job in line), "")


def stop_or_go(running: Running, number: signal.Signals, whole_host: bool) -> None:
    """Sends SIGSTOP or SIGCONT to the worker, and to its training too where the whole host is meant."""
    if whole_host:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(running.child, number)
    running.worker.signal(number)


FAULTS = (WorkerStopped(),)
