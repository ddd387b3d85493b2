"""The disk of the data folder full: a real small file system, filled up while jobs run on it, then freed."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from jobs.states import Status
from tests.faults.chain import Task
from tests.faults.fault import Fault, Injection, ended, now_ms, submit_next
from tests.faults.plan import Strike
from tests.faults.stage import Options, Stage, may_mount
from tests.support.servers import wait_until

DISK_MB = 48
PIECE = b"\0" * 2**16


class DiskFull(Fault):
    name = "disk of the data folder full, then freed"
    about = "The data folder's own file system is filled to the last byte while a job runs; once the service has \
said so and paused the job, the room is given back and the job resumed."
    proof = "the attempt's row: cause disk_full"
    times = 4
    task = Task(steps=60, ms=50, every=5, checkpoint_kb=512)
    options = Options(workers=1, data_mb=DISK_MB)

    def unavailable(self) -> str:
        return "" if may_mount() else "this machine does not let us mount a file system"

    def inject(self, stage: Stage, strike: Strike) -> Injection:
        job = submit_next(stage, self.task)
        running = stage.wait_running(job.id)
        wait_until(lambda: len(stage.checkpoints(job.id)) >= 1 + int(2 * strike.pick), "checkpoints")
        injection = Injection(now_ms(), job.id, running.attempt)
        filler = stage.settings.data_dir / "filler"
        try:
            fill(filler)
            wait_until(
                lambda: stage.job(job.id).status in (Status.PAUSED, Status.FAILED), "the job to be put aside", 60
            )
            injection.facts["free"] = len(stage.checkpoints(job.id))
        finally:
            filler.unlink(missing_ok=True)
        if stage.job(job.id).status == Status.PAUSED:
            stage.client.jobs.resume(job.id)
        injection.at = now_ms()  # of the room that came back
        stage.settle()
        return injection

    def confirm(self, stage: Stage, injection: Injection) -> str:
        attempt = ended(stage, injection)
        if attempt.cause == "disk_full" and injection.facts["free"] >= 1:
            return f"attempt {attempt.attempt}: {attempt.cause}, {attempt.message}"
        return ""


def fill(path: Path) -> None:
    """Until a write has failed for half a second: what pruning frees is taken too."""
    with path.open("ab", buffering=0) as file:
        full_since: float | None = None
        while full_since is None or time.monotonic() - full_since < 0.5:
            try:
                file.write(PIECE if full_since is None else PIECE[:512])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                full_since = full_since or time.monotonic()
                time.sleep(0.01)


FAULTS = (DiskFull(),)
