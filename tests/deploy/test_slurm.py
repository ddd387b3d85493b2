"""The batch script for Slurm with a real worker. Slurm itself is stood in for: what it does here is one signal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

from jobs.access.scope import DEFAULT
from jobs.settings import Settings
from jobs.states import Cause, Status
from jobs.tables import Attempt
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, environment, fleet
from tests.support.servers import Valkey
from tests.support.shared import ROOT
from tests.support.specs import train_spec

SCRIPT = ROOT / "deploy" / "slurm" / "worker.sbatch"


def test_the_signal_before_the_time_limit_goes_to_the_shell_that_hands_over() -> None:
    text = SCRIPT.read_text()
    seconds = int(text.partition("#SBATCH --signal=B:TERM@")[2].split()[0])
    assert seconds > 2 * Settings.model_fields["cancel_grace_seconds"].default


def test_without_a_file_of_settings_it_says_what_it_needs() -> None:
    ended = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "sbatch deploy/slurm/worker.sbatch ENVIRONMENT" in ended.stderr


def test_a_worker_whose_time_is_up_hands_its_job_to_another(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, child_command=TINY_CHILD)
    with fleet(settings, workers=0) as running:
        (job_id,) = running.submit([train_spec(labels={"do": "checkpoint", "seconds": "600", "later": "0"})])
        shown = environment(settings, TINY_JOURNAL=str(running.journal))
        ours = {name: value for name, value in shown.items() if name.startswith(("ADDER_", "TINY_"))}
        given = tmp_path / "environment"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in {**ours, "PATH": path}.items()))
        bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "PYTHONPATH": str(ROOT)}
        with (tmp_path / "slurm-7.out").open("wb") as log:
            batch = subprocess.Popen(["bash", str(SCRIPT), str(given)], env=bare, stdout=log, stderr=log)
        try:
            running.wait_status(job_id, Status.RUNNING)
            batch.send_signal(signal.SIGTERM)
            assert batch.wait(60) == 0, (tmp_path / "slurm-7.out").read_text()
        finally:
            batch.kill()
            batch.wait()
        assert running.job(job_id).status == Status.QUEUED
        with running.database.read(DEFAULT) as session:
            assert session.execute(select(Attempt.cause)).scalars().all() == [Cause.HANDED_BACK]
        running.start()
        assert [job.status for job in running.wait_final([job_id])] == [Status.SUCCEEDED]
