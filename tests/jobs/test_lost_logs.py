"""The whole log of a job that nobody's attempt ended becomes its artifact `log.txt` all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from jobs import lost_logs
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import StoreUnavailable
from jobs.lost_logs import SINCE_MS, keep_logs
from jobs.repository import history, lifecycle, recovery
from jobs.repository.attempts import Claim
from jobs.retention import GarbageCollector
from jobs.settings import Settings
from jobs.states import Status
from jobs.store import ArtifactStore, store_of
from jobs.tables import Job
from tests.api.attempt import Worker
from tests.support.specs import train_spec


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return store_of(Settings(data_dir=tmp_path / "data"))


@pytest.fixture
def worker(database: Database, store: ArtifactStore) -> Worker:
    return Worker(database, store)


def started(worker: Worker, *lines: str) -> Claim:
    with worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, train_spec(limits={"max_attempts": 1}))
    claim = worker.claim()
    for line in lines:
        worker.log(claim, line)
    return claim


def lose(database: Database, claim: Claim) -> None:
    """Its worker stops renewing, and the reconciler ends the job."""
    with database.write(DEFAULT) as session:
        session.execute(update(Job).where(Job.id == claim.job_id).values(lease_expires_at=1))
        assert recovery.reclaim_expired(session) == [claim.job_id]
        assert lifecycle.get(session, claim.job_id).status == Status.FAILED


def log_of(worker: Worker, job_id: str) -> str | None:
    with worker.database.read(DEFAULT) as session:
        found = {artifact.name: artifact for artifact in history.artifacts(session, job_id)}
    if "log.txt" not in found:
        return None
    assert (found["log.txt"].kind, found["log.txt"].media_type) == ("log", "text/plain; charset=utf-8")
    with worker.store.open(found["log.txt"].sha256) as file:
        return file.read().decode()


def test_a_job_that_is_lost_or_cancelled_while_paused_gets_its_log(
    database: Database, store: ArtifactStore, worker: Worker, tmp_path: Path
) -> None:
    lost = started(worker, "epoch 1\n", "épochè 2\n")
    lose(database, lost)
    paused = started(worker, "paused\n")
    with database.write(DEFAULT) as session:
        lifecycle.pause(session, paused.job_id)
    worker.pause(paused)
    with database.write(DEFAULT) as session:
        lifecycle.cancel(session, paused.job_id)
    silent, running = started(worker), started(worker, "still running\n")
    lose(database, silent)
    GarbageCollector(database, store, Settings(data_dir=tmp_path / "data")).step()
    assert log_of(worker, lost.job_id) == "epoch 1\népochè 2\n"
    assert log_of(worker, paused.job_id) == "paused\n"
    assert log_of(worker, silent.job_id) is None
    assert log_of(worker, running.job_id) is None
    assert keep_logs(database, store) == 0, "they have theirs"


def test_what_ended_long_ago_is_left_alone(database: Database, store: ArtifactStore, worker: Worker) -> None:
    lost = started(worker, "long ago\n")
    lose(database, lost)
    with database.write(DEFAULT) as session:
        session.execute(update(Job).values(finished_at=Job.finished_at - SINCE_MS - 1))
    assert keep_logs(database, store) == 0


def test_a_store_that_is_away_and_a_job_that_is_deleted_meanwhile(
    database: Database, store: ArtifactStore, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = started(worker, "away\n")
    lose(database, lost)
    put = store.put_stream

    def away(chunks: object) -> object:
        raise StoreUnavailable("here", "it does not answer")

    monkeypatch.setattr(store, "put_stream", away)
    with pytest.raises(StoreUnavailable):
        keep_logs(database, store)
    monkeypatch.setattr(store, "put_stream", put)
    assert keep_logs(database, store) == 1, "it is tried again"
    assert log_of(worker, lost.job_id) == "away\n"

    gone = started(worker, "gone\n" * 3)
    lose(database, gone)
    pieces = lost_logs._pieces

    def deleted_meanwhile(database: Database, job_id: str) -> object:
        yield from pieces(database, job_id)
        with database.write(DEFAULT) as session:
            lifecycle.delete_job(session, job_id)

    monkeypatch.setattr(lost_logs, "_pieces", deleted_meanwhile)
    assert keep_logs(database, store) == 1
