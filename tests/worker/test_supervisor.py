"""One attempt at a time: how each way a child can end becomes a state, a code and a sentence."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from jobs.access.scope import DEFAULT, SERVICE
from jobs.repository import attempts, history, lifecycle, queue, recovery
from jobs.repository.queue import Offer
from jobs.states import FailureCode, Status
from jobs.tables import Job
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, violations
from tests.support.servers import Valkey, wait_until
from tests.support.specs import train_spec
from tests.worker.steps import job_of, run_in_background, submit, wait_step
from worker import protocol, supervisor
from worker.app import claim_next, run_available
from worker.attempt import AttemptWriter
from worker.context import WorkerContext
from worker.housekeeping import Housekeeping
from worker.transfers import Transfers


def test_a_job_that_succeeds_leaves_everything(context: WorkerContext) -> None:
    job_id = submit(context, {"points": "5"})
    run_available(context)
    job = job_of(context, job_id)
    assert violations(context.database, job_id, 5) == []
    assert job.result == {"attempt": 1, "checkpoints": 0}
    assert job.environment == {
        "device": "cpu",
        "backend": "tiny",
        "process": "spawned",
        "isolation": "none",  # the child of this test restricts itself in no way
    }
    assert job.progress is not None
    assert job.progress["fraction"] == 1
    with context.database.read(DEFAULT) as session:
        assert [(a.name, a.media_type) for a in history.artifacts(session, job_id)] == [
            ("log.txt", "text/plain; charset=utf-8"),
            ("summary.json", "application/json"),
        ]
        log = history.artifact(session, job_id, "log.txt")
    assert context.store.path(log.sha256).read_text().startswith(f"tiny child of {job_id} attempt 1")
    assert not (context.settings.work_dir / job_id).exists()


@pytest.mark.parametrize(
    ("do", "code", "words"),
    [
        ("fail", FailureCode.DIVERGED, "The loss is not a number."),
        ("crash", FailureCode.CODE_ERROR, "crashed with signal 11"),
        ("exit", FailureCode.CODE_ERROR, "crashed with exit status 3"),
        ("garbage", FailureCode.CODE_ERROR, "this is no JSON"),
    ],
)
def test_a_failure_of_its_own_making_is_not_retried(context: WorkerContext, do: str, code: str, words: str) -> None:
    job_id = submit(context, {"do": do})
    run_available(context)
    job = job_of(context, job_id)
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == code
    assert words in job.error["message"]
    assert "tiny child of" in job.error["log_tail"]


@pytest.mark.parametrize("stored", ["[1]", "{}", '{"kind": "train", "dataset": [1]}', '{"seed": 1' + "0" * 5000 + "}"])
def test_a_spec_that_cannot_be_read_fails_its_own_job_at_once(lite_context: WorkerContext, stored: str) -> None:
    context = lite_context
    bad, good = submit(context), submit(context)
    with context.database.write(DEFAULT) as session:
        session.execute(text("UPDATE jobs SET spec = :spec WHERE id = :id"), {"spec": stored, "id": bad})
    run_available(context)
    assert job_of(context, good).status == Status.SUCCEEDED
    job = job_of(context, bad)
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == FailureCode.BAD_DATA
    assert "The job's spec cannot be read: " in job.error["message"]


def test_a_killed_child_is_retried_from_its_checkpoint_until_the_limit(context: WorkerContext) -> None:
    job_id = submit(context, {"do": "suicide", "seconds": "1.5"}, limits={"max_attempts": 2}, checkpoint={"keep": 2})
    run_available(context)
    job = job_of(context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.FAILED, 2, 2)
    assert job.error is not None
    assert job.error["code"] == FailureCode.WORKER_LOST
    assert "signal 9" in job.error["message"]
    with context.database.read(DEFAULT) as session:
        kept = attempts.checkpoints(session, job_id)
        steps = [m.step for m in history.metrics(session, job_id)]
    assert [step for step, _ in kept] == [3, 2]
    assert all(context.store.path(stored.sha256).exists() for _, stored in kept)
    assert steps == [1, 2, 3], "the second attempt repeated no point of the first"


def test_a_further_attempt_starts_again_from_the_progress_of_the_last_one(context: WorkerContext) -> None:
    job_id = submit(context)
    with context.database.write(DEFAULT) as session:
        session.get_one(Job, job_id).progress = {"phase": "storing", "step": 3}
    claim = claim_next(context)
    assert claim is not None
    writer = AttemptWriter(context, claim, Transfers(), context.settings.work_dir)
    writer.begin()
    writer.flush()
    assert job_of(context, job_id).progress == {"phase": "starting", "step": 3}
    writer.absorb([protocol.Progress(progress={"phase": "training"})])
    writer.flush()
    assert job_of(context, job_id).progress == {"phase": "training", "step": 3}


def test_cancel_stops_a_running_job_and_keeps_its_metrics(context: WorkerContext) -> None:
    job_id = submit(context, {"seconds": "60", "points": "600"})
    thread = run_in_background(context)
    wait_step(context, job_id, 2)
    with context.database.write(DEFAULT) as session:
        assert lifecycle.cancel(session, job_id).status == Status.CANCELLING
    thread.join(timeout=300)
    job = job_of(context, job_id)
    assert job.status == Status.CANCELLED
    with context.database.read(DEFAULT) as session:
        assert len(history.metrics(session, job_id)) >= 2


def test_a_deaf_child_is_killed_after_the_grace(context: WorkerContext) -> None:
    job_id = submit(context, {"do": "stubborn", "seconds": "60", "points": "600"})
    thread = run_in_background(context)
    wait_step(context, job_id, 2)
    with context.database.write(DEFAULT) as session:
        lifecycle.cancel(session, job_id)
    thread.join(timeout=300)
    assert not thread.is_alive()
    assert job_of(context, job_id).status == Status.CANCELLED


def test_pause_frees_the_slot_and_resume_goes_on(context: WorkerContext) -> None:
    job_id = submit(
        context, {"do": "checkpoint", "seconds": "60", "later": "1", "points": "30"}, checkpoint={"keep": 1}
    )
    thread = run_in_background(context)
    wait_step(context, job_id, 3)
    with context.database.write(DEFAULT) as session:
        lifecycle.pause(session, job_id)
    thread.join(timeout=300)
    assert job_of(context, job_id).status == Status.PAUSED
    with context.database.write(DEFAULT) as session:
        lifecycle.resume(session, job_id)
    run_available(context)
    job = job_of(context, job_id)
    assert job.status == Status.SUCCEEDED
    assert (job.attempt, job.faults) == (2, 0)
    assert job.result == {"attempt": 2, "checkpoints": 1}
    assert violations(context.database, job_id, 30) == []


def test_a_draining_worker_hands_its_job_back_without_a_fault(context: WorkerContext) -> None:
    job_id = submit(context, {"seconds": "60", "points": "600"})
    thread = run_in_background(context)
    wait_step(context, job_id, 2)
    context.draining.set()
    thread.join(timeout=300)
    job = job_of(context, job_id)
    assert (job.status, job.faults, job.lease_expires_at) == (Status.QUEUED, 0, None)


def test_the_time_limit_has_its_own_code(context: WorkerContext) -> None:
    job_id = submit(context, {"seconds": "60", "points": "600"}, limits={"max_seconds": 0.5})
    run_available(context)
    job = job_of(context, job_id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == (Status.FAILED, FailureCode.TIMED_OUT)
    assert "0.5 s" in job.error["message"]


def test_a_log_longer_than_its_limit_says_where_it_ends(context: WorkerContext) -> None:
    context.settings = context.settings.model_copy(update={"max_log_bytes": 1024, "child_command": ("sh", "-c", LOUD)})
    job_id = submit(context)
    run_available(context)
    with context.database.read(DEFAULT) as session:
        text, end = history.log_tail(session, job_id, 10_000)
    assert "log ends here" in text
    assert end < 300_000


LOUD = "yes a line that is long enough to fill the log | head -n 20000; exit 1"


def test_the_child_dies_with_its_supervisor(context: WorkerContext) -> None:
    """The supervisor's end of the lifeline closes when its process ends, however it ends."""
    from worker.process import ChildProcess
    from worker.protocol import JobOrder

    workdir = context.settings.work_dir / "x"
    workdir.mkdir(parents=True)
    spec = train_spec(labels={"seconds": "60", "points": "600"}).model_dump(mode="json")
    order = JobOrder(
        job_id="job_x", attempt=1, kind="train", spec=spec, workdir=str(workdir), datasets_dir="", threads=1
    )
    (workdir / "job.json").write_text(order.model_dump_json())
    begun, ended = threading.Event(), threading.Event()
    child = ChildProcess(
        TINY_CHILD,
        workdir / "job.json",
        threads=1,
        on_message=lambda _: begun.set(),
        on_log=lambda _: None,
        on_end=ended.set,
    )
    assert begun.wait(300)
    os.close(child._lifeline)
    child._lifeline = -1
    assert ended.wait(300)
    assert child.returncode == -signal.SIGKILL
    child.close()


def test_a_lost_attempt_is_reclaimed_only_after_a_whole_lease_was_seen(context: WorkerContext) -> None:
    job_id = submit(context)
    with context.database.write(SERVICE) as session:
        claim = queue.claim(session, Offer("worker_gone"), 50)
    assert claim is not None
    time.sleep(0.1)
    housekeeping = Housekeeping(context)
    assert housekeeping.reclaim() == [], "it has just begun to look: the owner may be cut off from the database too"
    found: list[str] = []

    def reclaimed() -> bool:
        found.extend(housekeeping.reclaim())
        return bool(found)

    begun = time.monotonic()
    wait_until(reclaimed, "the job to be taken back")
    assert found == [job_id]
    assert time.monotonic() - begun > 0.9 * context.settings.lease_seconds, "a whole lease was seen before"
    job = job_of(context, job_id)
    assert (job.status, job.faults) == (Status.QUEUED, 1)
    assert job.fence > claim.fence


def test_an_outage_of_the_database_costs_no_point_and_no_attempt(
    tmp_path: Path, fresh_postgres_url: str, postgres_url: str, valkey: Valkey
) -> None:
    """Its connections are cut and refused for a while; the training waits and then goes on."""
    settings = quick_settings(tmp_path, fresh_postgres_url, valkey.url, child_command=TINY_CHILD, lease_seconds=60.0)
    context = WorkerContext.create(settings)
    name = fresh_postgres_url.partition("?")[0].rpartition("/")[2]
    points = 3 * supervisor.SPOOL_ITEMS
    job_id = submit(context, {"points": str(points)})
    thread = run_in_background(context)
    wait_step(context, job_id, 100)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        time.sleep(3)
        assert thread.is_alive(), "the supervisor waits for the database"
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    thread.join(timeout=300)
    job = job_of(context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.SUCCEEDED, 1, 0)
    with context.database.read(DEFAULT) as session:
        steps = [m.step for m in history.metrics(session, job_id, limit=points + 1)]
    assert steps == list(range(1, points + 1))
    context.app.close()
    context.database.dispose()


def test_two_reconcilers_reclaim_a_job_once(context: WorkerContext) -> None:
    job_id = submit(context)
    with context.database.write(SERVICE) as session:
        queue.claim(session, Offer("worker_gone"), 1)
    time.sleep(0.05)
    found: list[str] = []

    def reclaim() -> None:
        with context.database.write(SERVICE) as session:
            found.extend(recovery.reclaim_expired(session))

    threads = [threading.Thread(target=reclaim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [job_id]
    assert job_of(context, job_id).faults == 1
