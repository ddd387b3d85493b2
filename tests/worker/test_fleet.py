"""Several workers side by side never run a job twice, whatever happens to messages and to a worker."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from jobs.settings import Settings
from jobs.states import Status
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, Fleet, fleet, violations
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec

POINTS = 3
LEASE_SECONDS = 6.0  # long enough that a busy machine loses none by itself


@pytest.fixture
def tiny(settings: Settings) -> Settings:
    return settings.model_copy(update={"child_command": TINY_CHILD, "lease_seconds": LEASE_SECONDS})


def lose_messages(running: Fleet, valkey: Valkey) -> int:
    """Takes every second message out of the queue, as a broker that failed over might."""
    with valkey.client() as client:
        length = client.llen(running.settings.queue)
        return sum(client.lpop(running.settings.queue) is not None for _ in range(length // 2))


def stopped(pid: int) -> bool:
    """Whether all threads of a process stand still: the signal is sent before they do."""
    states = (path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(state == "T" for state in states)


def stop_between_transactions(running: Fleet, owner: subprocess.Popen[bytes]) -> None:
    """SIGSTOP. SQLite has one lock for all: a process that stops while holding it stops everybody; try again then."""
    while True:
        owner.send_signal(signal.SIGSTOP)
        wait_until(lambda: stopped(owner.pid), "the worker to stop")
        if not running.database.sqlite:
            return
        with closing(sqlite3.connect(running.database.engine.url.database or "", timeout=0.5)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                owner.send_signal(signal.SIGCONT)
                time.sleep(0.05)


def stall_past_lease(running: Fleet, job_id: str) -> None:
    """Stops the worker that owns the job until another one has taken it, then lets it go on."""
    running.wait_status(job_id, Status.RUNNING)
    wait_until(lambda: (running.job(job_id).progress or {}).get("step", 0) >= 2, "the attempt to be under way")
    owner = running.worker_of(job_id)
    stop_between_transactions(running, owner)
    wait_until(lambda: running.job(job_id).attempt == 2, "another worker to take the job")
    # By now the first attempt's child has ended: its last words wait in the pipe of the stopped worker.
    wait_until(lambda: (job_id, 1) in running.journaled("end"), "the first attempt's child to end")
    owner.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.long("20 processes on the other database"))],
    indirect=True,
)
@pytest.mark.parametrize(
    ("jobs", "real"), [(20, 0), pytest.param(200, 20, marks=pytest.mark.long("220 jobs, 20 of them trainings"))]
)
def test_every_job_runs_once(tiny: Settings, valkey: Valkey, jobs: int, real: int) -> None:
    trained = [
        train_spec(labels={"real": "yes"}, epochs=1, batch_size=1437, seed=seed, resources={"threads": 1})
        for seed in range(real if tiny.database_url.startswith("postgresql") else 0)
    ]
    with fleet(tiny, workers=3) as running:
        ids = running.submit([train_spec(labels={"points": str(POINTS)})] * jobs, copies=2)
        assert lose_messages(running, valkey) > 0
        real_ids = running.submit(trained, copies=0)
        # Last, as on a busy machine it would have ended before all the others are submitted.
        stalled = running.submit([train_spec(labels={"seconds": "5", "points": "10"}, priority=9)])[0]
        stall_past_lease(running, stalled)
        for job in running.wait_final([stalled, *ids, *real_ids], seconds=800):
            assert job.status == Status.SUCCEEDED, (job.id, job.error)
        begun = [begin for begin in running.journaled("begin") if begin[0] in ids]
        assert len(begun) == len(set(begun)), "two children of one attempt"
        assert sorted(begun) == [(job.id, n) for job in running.jobs(ids) for n in range(1, job.attempt + 1)]
        time.sleep(3 * tiny.poll_seconds)
        wrong = [text for job_id in ids for text in violations(running.database, job_id, POINTS)]
        wrong += violations(running.database, stalled, 10)
        assert wrong == []
        assert running.job(stalled).attempt == 2
        assert len({(job.result or {}).get("val/loss") for job in running.jobs(real_ids)}) == len(set(real_ids))


@pytest.mark.long("a second fleet, to see that the first one's check can fail")
def test_without_the_fence_a_stalled_worker_corrupts_its_job(
    tmp_path: Path, fresh_postgres_url: str, valkey: Valkey
) -> None:
    """The check above can fail: with the fence taken out, the worker that wakes up writes over its successor."""
    settings = quick_settings(tmp_path, fresh_postgres_url, valkey.url, child_command=TINY_CHILD)
    with fleet(settings, workers=2, module="tests.support.unfenced_worker") as running:
        job_id = running.submit([train_spec(labels={"seconds": "4", "points": "8"})])[0]
        stall_past_lease(running, job_id)
        running.wait_final([job_id])
        wait_until(lambda: violations(running.database, job_id, 8) != [], "its words to be written over the other's")
