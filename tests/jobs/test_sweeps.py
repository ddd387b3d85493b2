"""The step that moves a sweep, on both databases: what becomes of the children, and what of the sweep with that."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT
from jobs.backup import backup
from jobs.database import Database
from jobs.repository import attempts, lifecycle
from jobs.restore import restore
from jobs.scheduling import Rules
from jobs.settings import Settings
from jobs.spec import SPEC
from jobs.states import FINAL, Status, SweepStatus
from jobs.store import store_of
from jobs.sweeps import driver, repository
from jobs.tables import Job
from tests.api.attempt import Worker
from tests.jobs.sweeping import ETAS, create, drive, finish, states, trials


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    return Worker(database, store_of(Settings(data_dir=tmp_path)))


def test_a_grid_runs_to_its_end_with_so_many_at_a_time(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"optimizer.eta": ETAS, "seed": [0, 1]}, parallel=2, labels={"study": "eta"})
    drive(database, sweep)
    assert states(database, sweep) == ["running"] * 2 + ["waiting"] * 4
    for number in range(6):
        claim = worker.claim()
        finish(worker, claim, 0.9 + number / 100)
        drive(database, sweep)
        with database.read(DEFAULT) as session:
            assert len(repository.open_jobs(session, sweep.id)) == min(2, 5 - number)
    ended = drive(database, sweep)
    assert (ended.status, ended.message) == (SweepStatus.SUCCEEDED, None)
    assert [trial.value for trial in trials(database, sweep)] == pytest.approx([0.9, 0.91, 0.92, 0.93, 0.94, 0.95])
    with database.read(DEFAULT) as session:
        best = repository.best_of(session, ended)
        assert best is not None
        assert (best.trial, best.parameters) == (5, {"optimizer.eta": 0.1, "seed": 1})
        job = lifecycle.get(session, str(best.job_id))
        labels = lifecycle.labels_of(session, [job.id])[job.id]
        assert labels == {"study": "eta", "sweep": sweep.id, "trial": "5"}
        assert (job.spec["optimizer"]["eta"], job.spec["seed"]) == (0.1, 1)
        assert repository.progress_of(session, [ended])[sweep.id] == repository.Progress(done=6, total=6)


def test_a_trial_that_fails_says_why_and_the_others_go_on(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0, 1, 2]})
    drive(database, sweep)
    finish(worker, worker.claim(), None, Status.FAILED)
    finish(worker, worker.claim(), None)
    finish(worker, worker.claim(), 0.9)
    ended = drive(database, sweep)
    failed, no_value, done = trials(database, sweep)
    assert (failed.status, failed.message) == ("failed", "diverged: Not a number.")
    assert no_value.status == "failed"
    assert "no metric or result 'val/accuracy'; name one of train/loss" in str(no_value.message)
    assert (done.status, done.value) == ("succeeded", 0.9)
    assert (ended.status, ended.message) == (SweepStatus.SUCCEEDED, "2 of 3 trials failed or were cancelled.")


def test_a_sweep_in_which_nothing_succeeds_has_failed(database: Database, worker: Worker) -> None:
    sweep = create(database)
    drive(database, sweep)
    for _ in range(2):
        finish(worker, worker.claim(), None, Status.FAILED)
    ended = drive(database, sweep)
    assert ended.status == SweepStatus.FAILED
    assert "diverged: Not a number." in str(ended.message)


def test_a_cancelled_sweep_stops_what_runs_and_begins_nothing(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": list(range(5))}, parallel=3)
    drive(database, sweep)
    claim = worker.claim()
    for _ in range(2):  # twice is once
        with database.write(DEFAULT) as session:
            assert repository.ask_cancel(session, sweep.id).status == SweepStatus.CANCELLING
    assert drive(database, sweep).status == SweepStatus.CANCELLING, "one still stops"
    assert states(database, sweep) == ["running"] + ["cancelled"] * 4
    finish(worker, claim, None, Status.CANCELLED)
    assert drive(database, sweep).status == SweepStatus.CANCELLED
    with database.read(DEFAULT) as session:
        assert {job.status for job in session.execute(select(Job)).scalars()} == {"cancelled"}


def test_a_full_queue_is_waited_for(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0, 1, 2]})
    rules = Rules(max_queued=1)
    drive(database, sweep, rules)
    assert states(database, sweep) == ["running", "waiting", "waiting"]
    claim = worker.claim()
    drive(database, sweep, rules)
    assert states(database, sweep) == ["running", "running", "waiting"]
    finish(worker, claim, 0.9)
    worker.claim()
    drive(database, sweep, rules)
    assert states(database, sweep) == ["succeeded", "running", "running"]


def test_no_trial_begins_once_the_budget_is_used_up(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0, 1, 2]}, parallel=1, budget={"max_seconds": 100})
    drive(database, sweep)
    claim = worker.claim()
    with database.write(DEFAULT) as session:
        session.execute(
            update(attempts.Attempt).values(started_at=attempts.Attempt.started_at - 150_000)
        )  # it ran for 150 s
    assert drive(database, sweep).status == SweepStatus.RUNNING, "what runs is finished"
    finish(worker, claim, 0.9)
    ended = drive(database, sweep)
    assert states(database, sweep) == ["succeeded", "cancelled", "cancelled"]
    assert (ended.status, ended.message) == (
        SweepStatus.SUCCEEDED,
        "The budget of 100 s was used up after 1 of 3 trials.",
    )
    assert trials(database, sweep)[0].seconds == pytest.approx(150, abs=5)


def test_a_deleted_job_leaves_its_value(database: Database, worker: Worker) -> None:
    sweep = create(database)
    drive(database, sweep)
    claims = [worker.claim(), worker.claim()]
    for claim in claims:
        finish(worker, claim, 0.9)
        with database.write(DEFAULT) as session:
            driver.record(session, repository.sweep_of(session, claim.job_id))
            lifecycle.delete_job(session, claim.job_id)
    assert drive(database, sweep).status == SweepStatus.SUCCEEDED
    assert [(trial.value, trial.job_id) for trial in trials(database, sweep)] == [(0.9, None)] * 2


def retried(session: Session, job_id: str) -> tuple[str, bool]:
    sweep = repository.sweep_of(session, job_id)
    spec = SPEC.validate_python(lifecycle.get(session, job_id).spec)
    new = lifecycle.retry(session, job_id, spec, from_checkpoint=False).id
    return new, repository.adopt(session, sweep, job_id, new)


def test_a_retry_of_a_failed_child_takes_its_place_and_opens_the_sweep_again(
    database: Database, worker: Worker
) -> None:
    sweep = create(database)
    drive(database, sweep)
    good, bad = worker.claim(), worker.claim()
    finish(worker, good, 0.8)
    finish(worker, bad, None, Status.FAILED)
    assert drive(database, sweep).status == SweepStatus.SUCCEEDED
    with database.write(DEFAULT) as session:
        new, adopted = retried(session, bad.job_id)
        other, not_adopted = retried(session, good.job_id)
    assert (adopted, not_adopted) == (True, False), "a trial that has a value keeps it"
    assert drive(database, sweep).status == SweepStatus.RUNNING
    assert [trial.job_id for trial in trials(database, sweep)] == [good.job_id, new]
    claims = {claim.job_id: claim for claim in (worker.claim(), worker.claim())}
    finish(worker, claims[new], 0.9)
    finish(worker, claims[other], 0.99)
    ended = drive(database, sweep)
    assert (ended.status, [trial.value for trial in trials(database, sweep)]) == (SweepStatus.SUCCEEDED, [0.8, 0.9])


def test_a_retry_in_a_cancelled_sweep_is_a_job_of_its_own(database: Database, worker: Worker) -> None:
    sweep = create(database)
    drive(database, sweep)
    with database.write(DEFAULT) as session:
        repository.ask_cancel(session, sweep.id)
    assert drive(database, sweep).status == SweepStatus.CANCELLED
    job_id = str(trials(database, sweep)[0].job_id)
    with database.write(DEFAULT) as session:
        assert retried(session, job_id)[1] is False
    with database.read(DEFAULT) as session:
        assert repository.get(session, sweep.id).status == SweepStatus.CANCELLED


def test_a_backup_brings_sweeps_back_and_they_go_on(sqlite_template: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", store_grace_seconds=0.01)
    settings.data_dir.mkdir()
    (settings.data_dir / "adder.db").write_bytes(sqlite_template.read_bytes())
    before = Database(settings.resolved_database_url)
    worker = Worker(before, store_of(settings))
    sweep = create(before, grid={"seed": [0, 1, 2]}, parallel=1)
    drive(before, sweep)
    finish(worker, worker.claim(), 0.9)
    drive(before, sweep)
    worker.claim()
    backup(settings, tmp_path / "copy")
    before.dispose()
    target = Settings(data_dir=tmp_path / "elsewhere")
    restore(target, tmp_path / "copy")
    after = Database(target.resolved_database_url)
    again = Worker(after, store_of(target))
    assert states(after, sweep) == ["succeeded", "running", "waiting"]
    for value in (0.8, 0.7):
        finish(again, again.claim(), value)
        drive(after, sweep)
    assert drive(after, sweep).status == SweepStatus.SUCCEEDED
    assert [trial.value for trial in trials(after, sweep)] == [0.9, 0.8, 0.7]
    with after.read(DEFAULT) as session:
        assert all(job.status in FINAL for job in session.execute(select(Job)).scalars())
    after.dispose()


@pytest.mark.parametrize("words", ["SELECT 1 FROM nowhere", "SELECT 1"])
def test_a_sweep_that_the_database_refuses_does_not_hold_up_the_others(
    database: Database, worker: Worker, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Whether the error is the statement's (a table that is not there) or looks as if the database were away."""
    bad, good = create(database), create(database)
    own_step = driver.step

    def step(session: Session, sweep_id: str, rules: Rules, *, searching: bool = True) -> bool:
        if sweep_id == bad.id:
            session.execute(text(words))
            raise OperationalError(words, {}, Exception("out of shared memory"))
        return own_step(session, sweep_id, rules, searching=searching)

    monkeypatch.setattr(driver, "step", step)
    moving = driver.Driver(database, Rules())
    for _ in range(2):
        with suppress(SQLAlchemyError):
            moving.round()
    assert states(database, good) == ["running"] * 2
    assert states(database, bad) == ["waiting"] * 2
