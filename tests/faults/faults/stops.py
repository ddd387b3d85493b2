"""SIGSTOP until the lease is over, then SIGCONT: who was away changes nothing when he comes back."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, keep_busy, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage
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
        keep_busy(stage, self.task, 2)
        job = submit_next(stage, self.task)
        running = stage.wait_running(job.id)
        time.sleep(0.3 * strike.pause)
        running.worker.signal(signal.SIGSTOP)
        whole_host = strike.number % 2 == 1
        if whole_host:
            os.killpg(running.child, signal.SIGSTOP)
        injection = Injection(now_ms(), job.id, running.attempt, {"worker": running.worker})
        # On PostgreSQL a transaction that stands still is ended after 15 s; then the job can be taken.
        wait_until(lambda: stage.job(job.id).attempt > running.attempt, "another worker to take the job", 60)
        injection.facts["lines"] = len(running.worker.said())
        if whole_host:
            os.killpg(running.child, signal.SIGCONT)
        running.worker.signal(signal.SIGCONT)
        return injection

    def confirm(self, stage: Stage, injection: Injection) -> str:
        later = injection.facts["worker"].said()[injection.facts["lines"] :]
        return next((line for line in later if "attempt.fenced" in line and injection.job in line), "")


FAULTS = (WorkerStopped(),)
