"""Searches and pruning; processes that move one sweep side by side, or die at it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.repository import history, lifecycle
from jobs.scheduling import Rules
from jobs.settings import Settings
from jobs.states import SWEEP_FINAL, Status, SweepStatus, TrialStatus
from jobs.store import store_of
from jobs.sweeps import plot, repository, search
from jobs.sweeps.driver import Driver, step
from jobs.sweeps.search import Known
from jobs.sweeps.spec import SweepSpec
from jobs.tables import Job, Trial
from tests.api.attempt import Worker
from tests.jobs.sweeping import LR, create, drive, epochs, finish, states, sweep_spec, trials
from tests.jobs.test_interleavings import Actor
from tests.support.specs import train_body


@pytest.fixture
def worker(database: Database, tmp_path: Path) -> Worker:
    return Worker(database, store_of(Settings(data_dir=tmp_path)))


def test_a_search_asks_for_the_next_trial_when_one_has_ended(database: Database, worker: Worker) -> None:
    sweep = create(database, search={"optimizer.lr": LR}, trials=4, pruner="none", seed=7)
    drive(database, sweep)
    assert states(database, sweep) == ["running"] * 2
    for _ in range(4):
        claim = worker.claim()
        finish(worker, claim, 1 - float(claim.spec["optimizer"]["lr"]))
        drive(database, sweep)
    found = trials(database, sweep)
    assert [trial.status for trial in found] == ["succeeded"] * 4
    assert len({trial.parameters["optimizer.lr"] for trial in found}) == 4
    assert drive(database, sweep).status == SweepStatus.SUCCEEDED


def test_a_process_that_may_not_search_leaves_that_to_others(database: Database) -> None:
    sweep = create(database, search={"optimizer.lr": LR}, trials=2)
    Driver(database, Rules(), searching=False).advance(sweep)
    assert trials(database, sweep) == []
    drive(database, sweep)
    assert states(database, sweep) == ["running"] * 2


def test_the_same_results_give_the_same_next_trial() -> None:
    spec = sweep_spec(
        search={
            "optimizer.lr": LR,
            "batch_size": {"type": "int", "low": 16, "high": 256, "step": 16},
            "model.method": {"type": "categorical", "choices": ["adder", "conv"]},
        },
        trials=40,
    )
    known: list[Known] = []
    for number in range(25):
        found = search.suggest(spec, known)
        assert found == search.suggest(spec, known)
        assert found["batch_size"] in range(16, 257, 16)
        status = TrialStatus.FAILED if number == 3 else TrialStatus.SUCCEEDED
        known.append(Known(status, found, -abs(found["optimizer.lr"] - 0.1)))
    rates = [one.parameters["optimizer.lr"] for one in known]
    other = search.suggest(spec.model_copy(update={"seed": 1}), known)
    assert other != search.suggest(spec, known)
    early = sum(0.05 < rate < 0.2 for rate in rates[:10])
    assert sum(0.05 < rate < 0.2 for rate in rates[15:]) > early, "it looks where the best ones were"


def test_a_trial_that_does_worse_than_the_median_is_pruned(database: Database, worker: Worker) -> None:
    spec = {"search": {"optimizer.lr": LR}, "trials": 7, "base": train_body(epochs=10)}
    sweep = create(database, **spec, parallel=1)
    for _ in range(5):
        drive(database, sweep)
        claim = worker.claim()
        epochs(worker, claim, 0, [0.5, 0.6, 0.7])
        finish(worker, claim, 0.7)
    drive(database, sweep)
    bad = worker.claim()
    epochs(worker, bad, 0, [0.1])
    drive(database, sweep)
    assert states(database, sweep)[5] == "running", "not in the first epochs"
    epochs(worker, bad, 1, [0.2])
    drive(database, sweep)
    pruned = trials(database, sweep)[5]
    assert (pruned.status, pruned.value, pruned.curve) == ("pruned", 0.2, {"0": 0.1, "1": 0.2})
    assert len(states(database, sweep)) == 6, "its job still holds the only place"
    with database.read(DEFAULT) as session:
        assert lifecycle.get(session, bad.job_id).status == "cancelling"
        said = [event for event in history.events(session, bad.job_id) if event.type == "pruned"]
    assert "worse than the median" in said[0].message
    finish(worker, bad, None, Status.CANCELLED)
    drive(database, sweep)
    good = worker.claim()
    epochs(worker, good, 0, [0.55, 0.65])
    drive(database, sweep)
    assert states(database, sweep)[6] == "running"
    finish(worker, good, 0.8)
    ended = drive(database, sweep)
    assert ended.status == SweepStatus.SUCCEEDED
    assert "no trial has a value" not in plot.draw(SweepSpec.model_validate(ended.spec), trials(database, sweep))


def test_a_sweep_ends_only_when_what_was_pruned_has_stopped(database: Database, worker: Worker) -> None:
    sweep = create(database, search={"optimizer.lr": LR}, trials=1)
    drive(database, sweep)
    claim = worker.claim()
    with database.write(DEFAULT) as session:
        lifecycle.cancel(session, claim.job_id)
        session.execute(update(Trial).values(status=TrialStatus.PRUNED, value=0.1))
    assert drive(database, sweep).status == SweepStatus.RUNNING
    finish(worker, claim, None, Status.CANCELLED)
    assert drive(database, sweep).status == SweepStatus.FAILED


class Killed(BaseException):
    """A process ends here."""


def test_a_process_that_dies_in_a_step_leaves_no_half_of_it(database: Database, worker: Worker) -> None:
    sweep = create(database, grid={"seed": [0, 1, 2]})

    def die(session: Session) -> None:
        step(session, sweep.id, Rules())
        session.flush()
        raise Killed

    with pytest.raises(Killed), database.write(DEFAULT) as session:
        die(session)
    with database.read(DEFAULT) as session:
        assert session.execute(select(Job)).all() == []
    assert states(database, sweep) == ["waiting"] * 3
    drive(database, sweep)
    drive(database, sweep)
    with database.read(DEFAULT) as session:
        made = [job.spec["seed"] for job in session.execute(select(Job).order_by(Job.id)).scalars()]
    assert made == [0, 1, 2]


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_drivers_side_by_side_make_no_trial_twice_and_keep_to_the_limit(
    database: Database, worker: Worker, kind: str
) -> None:
    varied: dict[str, Any] = {"grid": {"seed": list(range(10))}}
    if kind == "search":
        search.load()
        varied = {"search": {"optimizer.lr": LR}, "trials": 10, "pruner": "none"}
    sweep = create(database, **varied, parallel=3)
    problems: list[str] = []
    most = 0

    def guarded(work: Callable[[], bool]) -> None:
        try:
            while not work():
                pass
        except Exception as error:  # noqa: BLE001  (a thread's error is the test's)
            problems.append(f"{type(error).__name__}: {error}")

    def move() -> bool:
        with database.write(DEFAULT) as session:
            step(session, sweep.id, Rules())
        return ended()

    def work() -> bool:
        nonlocal most
        with database.read(DEFAULT) as session:
            most = max(most, len(repository.open_jobs(session, sweep.id)))
            queued = session.execute(select(Job.id).where(Job.status == Status.QUEUED)).first()
        if queued is not None:
            finish(worker, worker.claim(), random.random())
        return ended()

    def ended() -> bool:
        with database.read(DEFAULT) as session:
            return bool(problems) or repository.get(session, sweep.id).status in SWEEP_FINAL

    threads = [threading.Thread(target=guarded, args=(act,)) for act in (move, move, move, work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert problems == []
    assert 1 <= most <= 3, "drivers that race each other may never fill the limit"
    found = trials(database, sweep)
    assert [trial.number for trial in found] == list(range(10))
    assert {trial.status for trial in found} == {"succeeded"}
    with database.read(DEFAULT) as session:
        jobs = session.execute(select(Job)).scalars().all()
        numbers = Counter(lifecycle.labels_of(session, [job.id])[job.id]["trial"] for job in jobs)
    assert numbers == {str(number): 1 for number in range(10)}
    assert {trial.job_id for trial in found} == {job.id for job in jobs}


def test_a_sweep_that_somebody_moves_is_left_to_him(fresh_postgres_url: str) -> None:
    """Nobody waits for a step, and one that dies is done by the next who comes."""
    database = Database(fresh_postgres_url)
    try:
        sweep = create(database, grid={"seed": [0, 1, 2]}, parallel=2)
        first = Actor(database, lambda session: step(session, sweep.id, Rules()))
        assert not first.settle()
        second = Actor(database, lambda session: step(session, sweep.id, Rules()))
        assert not second.settle(), "the row is locked, and skipped"
        second.end()
        asked = Actor(database, lambda session: repository.ask_cancel(session, sweep.id).status)
        assert asked.settle(), "a user's cancel waits until the step has ended"
        first.end(undo=True)
        assert asked.end() == SweepStatus.CANCELLING
        assert drive(database, sweep).status == SweepStatus.CANCELLED
        with database.read(DEFAULT) as session:
            assert session.execute(select(Job)).all() == [], "what died has made nothing"
    finally:
        database.dispose()
