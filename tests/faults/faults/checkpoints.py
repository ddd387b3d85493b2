"""The newest checkpoint torn while its owner is killed: the one before it serves."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, keep_busy, now_ms, submit_next
from tests.faults.faults.kills import kill
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage
from tests.support.servers import wait_until


def tear(path: Path, pick: float) -> str:
    """Cuts the file short or flips one bit of it, somewhere; says which."""
    size = path.stat().st_size
    at = int(pick * size)
    if int(pick * 1000) % 2:
        os.truncate(path, at)
        return f"cut to {at} of {size} bytes"
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    return f"bit 0 of byte {at} flipped"


class Torn(Fault):
    name = "newest checkpoint torn, its worker killed"
    about = "A job with two checkpoints loses its worker; the stored file of the newer one is cut short or has one \
bit flipped."
    proof = "the job's events: checkpoint_lost, then resumed from the step before"
    times = 10
    task = Task(steps=40, ms=40, every=4)
    options = Options(workers=2)

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        job = submit_next(stage, self.task)
        stage.wait_running(job.id)
        wait_until(lambda: len(stage.checkpoints(job.id)) >= 2, "two checkpoints")
        running = stage.wait_running(job.id)
        injection = Injection(now_ms(), job.id, running.attempt)
        kill(running, "host")
        running.worker.process.wait(timeout=20)
        newest, older = stage.checkpoints(job.id)[:2]
        injection.facts["how"] = tear(stage.blob(newest.sha256), strike.pick)
        injection.facts["older"] = older.step
        stage.replace(running.worker)
        keep_busy(stage, self.task, 2)
        return injection

    def confirm(self, stage: Stage, injection: Injection) -> str:
        said = [(event.type, event.message) for event in stage.client.jobs.events(injection.job)]
        kinds = [kind for kind, _ in said]
        resumed = f"Goes on after step {injection.facts['older']}."
        if "checkpoint_lost" in kinds and ("resumed", resumed) in said[kinds.index("checkpoint_lost") :]:
            return f"{injection.facts['how']}: {said[kinds.index('checkpoint_lost')][1]} {resumed}"
        return ""


FAULTS = (Torn(),)
