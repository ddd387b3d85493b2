"""An artifact store that is full or away: the training goes on, and a job it outlasts is paused, losing nothing."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.access.scope import DEFAULT
from jobs.repository import attempts, lifecycle
from jobs.settings import Settings
from jobs.states import Cause, Status
from tests.conftest import quick_settings
from tests.support.fleet import TINY_CHILD, violations
from tests.support.servers import Valkey, wait_until
from tests.worker.steps import causes, events_of, job_of, run_in_background, submit, wait_step
from worker.app import run_available
from worker.context import WorkerContext
from worker.transfers import Transfers

POINTS = 10


@pytest.fixture
def impatient(lite_context: WorkerContext) -> WorkerContext:
    lite_context.settings = lite_context.settings.model_copy(update={"store_patience_seconds": 0.5})
    return lite_context


@pytest.fixture
def small_disk(impatient: WorkerContext) -> Iterator[Path]:
    """A disk of 64 KiB for the artifacts alone."""
    folder = impatient.settings.artifacts_dir
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "adder-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount a file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Takes all the room that there is."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def put_away(folder: Path) -> Callable[[], None]:
    """Makes the folder unreachable, until the function that is returned is called."""
    aside = folder.with_name("aside")
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    folder.write_text("no folder")

    def back() -> None:
        folder.unlink()
        aside.rename(folder)

    return back


def resume(context: WorkerContext, job_id: str) -> None:
    with context.database.write(DEFAULT) as session:
        lifecycle.resume(session, job_id)


def ends_well(context: WorkerContext, job_id: str, ended: list[Cause]) -> None:
    job = job_of(context, job_id)
    assert (job.status, job.faults) == (Status.SUCCEEDED, 0)
    assert causes(context, job_id) == [*ended, Cause.SUCCEEDED]
    assert violations(context.database, job_id, POINTS) == []


def test_a_full_disk_pauses_the_job_and_room_lets_it_go_on(impatient: WorkerContext, small_disk: Path) -> None:
    job_id = submit(
        impatient, {"do": "checkpoint", "seconds": "60", "later": "1", "points": str(POINTS)}, checkpoint={"keep": 2}
    )
    thread = run_in_background(impatient)
    wait_until(lambda: bool(events_of(impatient, job_id, "checkpoint")), "a first checkpoint to be stored")
    filler = small_disk / "filler"
    fill(filler)
    thread.join(timeout=300)
    job = job_of(impatient, job_id)
    assert (job.status, job.faults) == (Status.PAUSED, 0)
    assert causes(impatient, job_id) == [Cause.DISK_FULL]
    said = events_of(impatient, job_id, "status")[-1].message
    assert str(small_disk) in said
    assert "adder resume" in said
    with impatient.database.read(DEFAULT) as session:
        saved = attempts.checkpoints(session, job_id)
    assert saved, "the last good checkpoint is there"
    for _, stored in saved:
        with impatient.store.open(stored.sha256) as checkpoint:
            assert checkpoint.read().startswith(b"step "), "and whole"
    filler.unlink()
    resume(impatient, job_id)
    run_available(impatient)
    ends_well(impatient, job_id, [Cause.DISK_FULL])


def test_results_wait_for_a_store_that_comes_back(lite_context: WorkerContext) -> None:
    """With the default patience: a store that is away for a moment costs neither the attempt nor a checkpoint."""
    job_id = submit(lite_context, {"do": "checkpoint", "seconds": "1", "points": str(POINTS)})
    back = put_away(lite_context.settings.artifacts_dir)
    thread = run_in_background(lite_context)
    wait_step(lite_context, job_id, POINTS)  # the training goes on to its end meanwhile
    wait_until(lambda: bool(events_of(lite_context, job_id, "store_away")), "the trouble to be told")
    assert thread.is_alive()
    assert job_of(lite_context, job_id).status == Status.RUNNING
    back()
    thread.join(timeout=300)
    ends_well(lite_context, job_id, [])
    assert len(events_of(lite_context, job_id, "store_away")) == 1


def test_a_store_that_stays_away_pauses_the_job(impatient: WorkerContext) -> None:
    job_id = submit(impatient, {"points": str(POINTS)})
    back = put_away(impatient.settings.artifacts_dir)
    run_available(impatient)
    job = job_of(impatient, job_id)
    assert (job.status, job.result) == (Status.PAUSED, None)
    assert causes(impatient, job_id) == [Cause.STORE_LOST]
    assert "cannot be reached" in events_of(impatient, job_id, "status")[-1].message
    back()
    resume(impatient, job_id)
    run_available(impatient)
    ends_well(impatient, job_id, [Cause.STORE_LOST])


def test_an_attempt_waits_for_its_checkpoint_instead_of_beginning_anew(lite_context: WorkerContext) -> None:
    job_id = submit(lite_context, {"do": "checkpoint", "seconds": "60", "later": "1", "points": str(POINTS)})
    thread = run_in_background(lite_context)
    wait_until(lambda: bool(events_of(lite_context, job_id, "checkpoint")), "a checkpoint")
    with lite_context.database.write(DEFAULT) as session:
        lifecycle.pause(session, job_id)
    thread.join(timeout=300)
    back = put_away(lite_context.settings.artifacts_dir)
    resume(lite_context, job_id)
    thread = run_in_background(lite_context)
    wait_until(lambda: job_of(lite_context, job_id).status == Status.RUNNING, "the second attempt")
    wait_until(lambda: bool(events_of(lite_context, job_id, "store_away")), "the trouble to be told")
    back()
    thread.join(timeout=300)
    job = job_of(lite_context, job_id)
    assert job.result is not None
    assert (job.status, job.result["checkpoints"]) == (Status.SUCCEEDED, 1)
    assert events_of(lite_context, job_id, "checkpoint_lost") == []


@pytest.mark.parametrize("asked", ["cancel", "stop"])
def test_who_waits_for_a_store_still_listens(lite_context: WorkerContext, asked: str) -> None:
    lite_context.settings = lite_context.settings.model_copy(update={"cancel_grace_seconds": 0.3})
    job_id = submit(lite_context, {"points": "3"})
    back = put_away(lite_context.settings.artifacts_dir)
    thread = run_in_background(lite_context)
    wait_until(lambda: bool(events_of(lite_context, job_id, "store_away")), "the trouble to be told")
    if asked == "cancel":
        with lite_context.database.write(DEFAULT) as session:
            lifecycle.cancel(session, job_id)
    else:
        lite_context.draining.set()
    thread.join(timeout=300)
    assert not thread.is_alive()
    job = job_of(lite_context, job_id)
    assert job.status == (Status.CANCELLED if asked == "cancel" else Status.QUEUED)
    assert (job.faults, job.lease_expires_at) == (0, None)
    back()


def test_a_result_that_is_not_there_is_a_failure_that_names_it(lite_context: WorkerContext) -> None:
    said = (
        '{"type": "artifact", "path": "/gone/model", "name": "m", "kind": "model", "media_type": "x/y"}',
        '{"type": "done", "result": {}}',
    )
    script = f"printf '%s\\n%s\\n' '{said[0]}' '{said[1]}' > /proc/self/fd/$3"
    settings = lite_context.settings.model_copy(update={"child_command": ("bash", "-c", script)})
    lite_context.settings = settings
    job_id = submit(lite_context)
    run_available(lite_context)
    error = job_of(lite_context, job_id).error
    assert error is not None
    assert error["code"] == "code_error"
    assert "/gone/model" in error["message"]


def test_a_newer_copy_takes_the_place_of_one_that_fails() -> None:
    away, tried = threading.Event(), []

    def failing() -> str:
        tried.append("old")
        away.set()
        raise OSError(5, "Input/output error")

    transfers = Transfers()
    old = transfers.add(failing)
    assert away.wait(300)
    assert transfers.trouble is None or transfers.trouble.cause is Cause.STORE_LOST
    old.cancel()
    new = transfers.add(lambda: "new")
    wait_until(lambda: new.done, "the newer one")
    assert new.result == "new"
    assert not old.done
    assert transfers.trouble is None
    transfers.close()


def test_a_database_on_a_full_disk_loses_nothing(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    """The embedded database itself has no room: everything waits, and goes on once there is some."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "adder-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount a file system: {done.stderr.strip()}")
    try:
        (folder / "adder.db").write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
        settings = quick_settings(tmp_path, f"sqlite:///{folder / 'adder.db'}", valkey.url, child_command=TINY_CHILD)
        _fill_under_a_job(WorkerContext.create(settings), settings, folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill_under_a_job(context: WorkerContext, settings: Settings, folder: Path) -> None:
    job_id = submit(context, {"points": "2000", "seconds": "3"})
    thread = run_in_background(context)
    wait_step(context, job_id, 10)
    fill(folder / "filler")
    wait_until(lambda: context.stats.report(running=1, spooled=0, gpus=[])["database_errors_total"] > 0, "a failure")
    (folder / "filler").unlink()
    thread.join(timeout=300)
    job = job_of(context, job_id)
    assert (job.status, job.attempt, job.faults) == (Status.SUCCEEDED, 1, 0)
    assert violations(context.database, job_id, 2000) == []
    context.app.close()
    context.database.dispose()
