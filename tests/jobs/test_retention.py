"""What the rules and the garbage collection remove, never what is young, runs or is named by a row."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from jobs import retention
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import JobsError, StoreError
from jobs.repository import history, lifecycle, models
from jobs.repository.attempts import Claim
from jobs.retention import DAY_MS, GarbageCollector, collect_garbage
from jobs.settings import Settings
from jobs.states import Status
from jobs.store import ArtifactStore, store_of
from jobs.store.folder import FolderStore
from jobs.system_metrics import NAMES, Sample
from jobs.tables import Artifact, Checkpoint, Event, IdempotencyKey, Job, LogChunk, Metric, Model
from tests.api.attempt import MANIFEST, Worker
from tests.jobs.clocks import stopped_clock
from tests.support.servers import wait_until
from tests.support.specs import train_spec

ENOUGH = 5
"""Removals beside which the traffic has shown something, on a busy machine too."""

TABLES: dict[str, Any] = {
    "checkpoints": Checkpoint,
    "logs": LogChunk,
    "artifacts": Artifact,
    "metrics": Metric,
    "events": Event,
    "idempotency_keys": IdempotencyKey,
    "jobs": Job,
}
FOR_EVER: dict[str, Any] = {f"keep_{name}_days": None for name in TABLES}
SHORT_GRACE = 2.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", store_grace_seconds=SHORT_GRACE, orphan_hours=1e-6, **FOR_EVER)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return store_of(settings)


@pytest.fixture
def worker(database: Database, store: ArtifactStore) -> Worker:
    return Worker(database, store)


def started(worker: Worker, text: str, **submission: Any) -> Claim:
    """A running job with some of everything."""
    with worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, train_spec(), **submission)
    claim = worker.claim()
    worker.metrics(claim, 1, 25)
    for line in range(3):
        worker.log(claim, f"{text} {line}\n")
    worker.artifact(claim, "log.txt", text.encode())
    worker.checkpoint(claim, 1)
    worker.checkpoint(claim, 2)
    return claim


def age(database: Database, job_id: str, days: float) -> None:
    with database.write(DEFAULT) as session:
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=Job.finished_at - int(days * DAY_MS)))
        session.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.job_id == job_id)
            .values(created_at=IdempotencyKey.created_at - int(days * DAY_MS))
        )


def rows(database: Database, job_id: str) -> dict[str, int]:
    with database.read(DEFAULT) as session:
        return {
            name: session.execute(
                select(func.count()).select_from(t).where((t.id if t is Job else t.job_id) == job_id)
            ).scalar_one()
            for name, t in TABLES.items()
        }


def test_each_rule_removes_what_is_old_and_nothing_else(
    database: Database, store: ArtifactStore, worker: Worker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS", 10)  # several transactions a job
    monkeypatch.setattr(retention, "BATCH", 2)  # several steps
    old = []
    for number in range(3):
        old.append(started(worker, f"old {number}", key=f"old {number}", body={}))
        worker.publish(old[-1])
        worker.finish(old[-1])
        age(database, old[-1].job_id, 10)
    young = started(worker, "young", key="young", body={})
    worker.finish(young)
    age(database, young.job_id, 4)
    running = started(worker, "running", key="running", body={})
    expected = before = rows(database, old[0].job_id)
    assert min(before.values()) > 0
    for rule in TABLES:
        collector = GarbageCollector(database, store, settings.model_copy(update={f"keep_{rule}_days": 7.0}))
        for _ in range(3):
            collector.step()
        expected = dict.fromkeys(before, 0) if rule == "jobs" else expected | {rule: 0}
        assert [rows(database, claim.job_id) for claim in old] == [expected] * 3
        assert collector.totals[rule] == 3 * before[rule]
        for claim in (young, running):
            assert min(rows(database, claim.job_id).values()) > 0
    with database.read(DEFAULT) as session:
        models = session.execute(select(Model.sha256)).scalars().all()
        assert len(models) == 3
        for sha256 in (*models, *session.execute(select(Checkpoint.sha256)).scalars()):
            store.open(sha256).close()


def test_a_retry_keeps_the_checkpoint_it_goes_on_from(
    database: Database, store: ArtifactStore, worker: Worker, settings: Settings
) -> None:
    claim = started(worker, "old")
    worker.finish(claim, Status.FAILED, {"code": "timed_out", "message": "It ran too long."})
    with database.write(DEFAULT) as session:
        retry = lifecycle.retry(session, claim.job_id, train_spec(), from_checkpoint=True).id
    age(database, claim.job_id, 10)
    grown_old(store)
    swept = collect_garbage(
        database, store, settings.model_copy(update={"keep_checkpoints_days": 7.0, "keep_jobs_days": 7.0})
    )
    assert (swept["checkpoints"], swept["jobs"], swept["blobs"]) == (2, 1, 2), "of blobs: the log and one checkpoint"
    with database.read(DEFAULT) as session:
        (kept,) = session.execute(select(Checkpoint.sha256).where(Checkpoint.job_id == retry)).scalars()
    store.open(kept).close()


def test_orphans_and_work_folders_go_when_nobody_owns_them(
    database: Database, store: ArtifactStore, worker: Worker, settings: Settings
) -> None:
    born = store.now()
    ended, running = started(worker, "ended"), started(worker, "running")
    worker.finish(ended)
    store.put_stream([b"orphan"])
    folders = {}
    for claim, fence in ((ended, 1), (running, 1), (running, 0)):
        folder = settings.work_dir / claim.job_id / f"1-{fence}"
        folder.mkdir(parents=True)
        (folder / "state").write_text("x")
        folders[folder] = claim is running and fence == running.fence
    with stopped_clock(store, born):
        assert collect_garbage(database, store, settings) == {}, "all of it is young"
    grown_old(store)
    for folder in folders:
        for path in (folder / "state", folder):
            os.utime(path, (0, 0))
    (late := settings.work_dir / "job_unknown" / "3-4").mkdir(parents=True)
    assert collect_garbage(database, store, settings) == {"blobs": 1, "work_folders": 2}
    assert {folder: folder.exists() for folder in folders} == folders
    assert late.exists()


def test_a_store_beside_an_empty_database_is_left_alone(
    database: Database, store: ArtifactStore, settings: Settings
) -> None:
    """Somebody named another database by mistake: that is no reason to empty the store."""
    stored = store.put_stream([b"a blob of another database"])
    grown_old(store)
    assert collect_garbage(database, store, settings) == {}
    store.open(stored.sha256).close()


def grown_old(store: ArtifactStore) -> None:
    born = store.now()
    wait_until(lambda: store.now() > born + SHORT_GRACE + 0.1, "all blobs to grow old")


def content(chance: random.Random) -> bytes:
    """One of a few: some are stored again all the time, others seldom enough to be removed in between."""
    return f"content {int(12 * chance.random() ** 3)}".encode()


class Traffic:
    """Jobs that publish, imports and deletes of the same few contents, while garbage is collected.

    `missing` lists what went wrong.
    """

    def __init__(self, database: Database, store: FolderStore, settings: Settings, seed: int) -> None:
        self.database, self.store, self.settings = database, store, settings
        self.seed = seed
        self.missing: list[str] = []
        self.removed = 0
        self.over = threading.Event()

    def run(self, seconds: float) -> None:
        actors = [self.publish] * 2 + [self.import_and_delete] * 3 + [self.collect, self.audit]
        threads = [threading.Thread(target=self._act, args=(actor, n)) for n, actor in enumerate(actors)]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in threads:
            thread.join()

    def _act(self, actor: Any, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        while not self.over.is_set():
            try:
                actor(chance)
            except JobsError as error:  # such as a job that somebody else has deleted
                if isinstance(error, StoreError):
                    self.missing.append(str(error))
            except BaseException as error:
                self.missing.append(repr(error))
                self.over.set()
                raise

    def publish(self, chance: random.Random) -> None:
        worker = Worker(self.database, self.store)
        with self.database.write(DEFAULT) as session:
            lifecycle.submit(session, train_spec())
        claim = worker.claim()
        for step in range(chance.randrange(1, 4)):
            worker.checkpoint(claim, step)
        worker.artifact(claim, "summary.json", content(chance))
        worker.finish(claim)

    def import_and_delete(self, chance: random.Random) -> None:
        stored = self.store.put_stream([content(chance)])
        with self.database.write(DEFAULT) as session:
            model = models.same_model(session, stored.sha256)
            if model is None:
                model = models.new_model(MANIFEST, stored, source="imported", job_id=None, metrics=None)
                models.add_model(session, model)
        self.over.wait(chance.random() * 0.1)
        with self.database.write(DEFAULT) as session:
            sha256 = models.delete_model(session, model.id)
        self.store.discard(self.database, [sha256])

    def collect(self, _: random.Random) -> None:
        self.removed += sum(collect_garbage(self.database, self.store, self.settings).values())

    def audit(self, _: random.Random) -> None:
        named = self._named()
        for what, sha256 in named.items():
            if not self.store.path(sha256).exists() and self._named().get(what) == sha256:
                self.missing.append(f"{what} names {sha256}")
        self.over.wait(0.02)

    def _named(self) -> dict[tuple[str, ...], str]:
        with self.database.read(DEFAULT) as session:
            found: dict[tuple[str, ...], str] = {}
            for table, key in ((Artifact, Artifact.name), (Checkpoint, Checkpoint.step)):
                for job, name, sha256 in session.execute(select(table.job_id, key, table.sha256)):
                    found[job, str(name)] = sha256
            found |= {(row.id,): row.sha256 for row in session.execute(select(Model.id, Model.sha256))}
        return found


@pytest.fixture
def traffic(database: Database, store: ArtifactStore, settings: Settings) -> Traffic:
    assert isinstance(store, FolderStore)
    second = 1.0 / 86_400
    quick = {"keep_checkpoints_days": second / 2, "keep_jobs_days": 2 * second, "keep_logs_days": second}
    return Traffic(database, store, settings.model_copy(update=quick), seed=4)


@pytest.mark.long("threads work beside the collection")
def test_nothing_named_is_ever_missing_beside_the_garbage_collection(traffic: Traffic) -> None:
    traffic.run(6)
    assert traffic.missing == []
    assert traffic.removed > ENOUGH


def test_a_collector_works_by_itself_and_survives_an_absent_database(
    database: Database, store: ArtifactStore, worker: Worker, settings: Settings
) -> None:
    claim = started(worker, "old")
    worker.finish(claim)
    age(database, claim.job_id, 10)
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    quick = settings.model_copy(update={"keep_jobs_days": 7, "sweep_seconds": 0.05})
    told: list[dict[str, int]] = []
    collectors = [GarbageCollector(away, store, quick), GarbageCollector(database, store, quick, told.append)]
    for collector in collectors:
        collector.start()
    wait_until(lambda: collectors[1].totals["jobs"] == 1, "the old job to be removed")
    for collector in collectors:
        assert collector._thread.is_alive()
        collector.stop()
    for collector in collectors:
        collector._thread.join(timeout=300)
    away.dispose()
    assert sum(swept["jobs"] for swept in told) == 1


def test_samples_of_the_system_have_a_rule_of_their_own(
    database: Database, store: ArtifactStore, worker: Worker, settings: Settings
) -> None:
    old, young = started(worker, "old"), started(worker, "young")
    for claim in (old, young):
        worker.sampled(claim, [Sample(1000 * n, 0.5, 1 << 20) for n in range(5)])
        worker.finish(claim)
    age(database, old.job_id, 10)
    age(database, young.job_id, 4)
    collector = GarbageCollector(database, store, settings.model_copy(update={"keep_system_metrics_days": 7.0}))
    collector.step()
    with database.read(DEFAULT) as session:
        left = {claim.job_id: len(history.metrics(session, claim.job_id, names=NAMES)) for claim in (old, young)}
        assert left == {old.job_id: 0, young.job_id: 10}
        assert len(history.metrics(session, old.job_id)) == 25, "its metrics stay"
    assert collector.totals["system_metrics"] == 10
