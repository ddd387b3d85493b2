"""Backups of stores in use, restored: nothing that the copied rows name is missing, nothing damaged is put in place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from jobs.access.scope import DEFAULT
from jobs.backup import MANIFEST, BackupError, backup
from jobs.database import Database
from jobs.migrate import require_current
from jobs.repository import attempts, datasets, lifecycle
from jobs.restore import restore
from jobs.settings import Settings
from jobs.states import Status
from jobs.store import store_of
from jobs.tables import Artifact, Checkpoint, Job, Metric, Model
from jobs.tables import Worker as WorkerRow
from tests.api.attempt import Worker
from tests.support.datasets import ready, upload
from tests.support.specs import train_spec


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(sqlite_template, data / "adder.db")
    return Settings(data_dir=data, store_grace_seconds=0.01)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    yield database
    database.dispose()


@pytest.fixture
def worker(settings: Settings, database: Database) -> Worker:
    worker = Worker(database, store_of(settings))
    worker.heartbeat()
    return worker


def submit(database: Database) -> None:
    with database.write(DEFAULT) as session:
        lifecycle.submit(session, train_spec())


def job_in(worker: Worker, status: Status) -> str:
    """A job in one of the states, with metrics, a checkpoint and a file."""
    submit(worker.database)
    claim = worker.claim()
    worker.metrics(claim, 1, 20)
    worker.checkpoint(claim, 1)
    worker.artifact(claim, "file", status.encode())
    with worker.database.write(DEFAULT) as session:
        if status in (Status.PAUSING, Status.PAUSED):
            lifecycle.pause(session, claim.job_id)
        elif status is Status.CANCELLING:
            lifecycle.cancel(session, claim.job_id)
    if status is Status.SUCCEEDED:
        worker.publish(claim)
        worker.finish(claim)
    elif status is Status.PAUSED:
        worker.pause(claim)
    return claim.job_id


def elsewhere(settings: Settings, name: str = "elsewhere") -> Settings:
    return Settings(data_dir=settings.data_dir.parent / name)


def content(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_a_backup_comes_back_with_every_job_where_it_stood(
    settings: Settings, database: Database, worker: Worker, tmp_path: Path
) -> None:
    jobs = {status: job_in(worker, status) for status in (Status.SUCCEEDED, Status.PAUSED, Status.RUNNING)}
    jobs |= {status: job_in(worker, status) for status in (Status.PAUSING, Status.CANCELLING)}
    submit(database)  # and one that is queued
    (settings.datasets_dir / "own").mkdir(parents=True)
    (settings.datasets_dir / "own" / "images.npy").write_bytes(b"data")
    made = backup(settings, tmp_path / "copy")
    assert made.damaged == []
    assert json.loads((tmp_path / "copy" / MANIFEST).read_text())["revision"] == made.revision
    found = content(tmp_path / "copy")
    del found[MANIFEST]
    assert found == {name: entry["sha256"] for name, entry in made.files.items()}

    target = elsewhere(settings)
    assert restore(target, tmp_path / "copy") is None
    assert (target.datasets_dir / "own" / "images.npy").read_bytes() == b"data"
    restored = Database(target.resolved_database_url)
    require_current(restored)
    with restored.read(DEFAULT) as session, database.read(DEFAULT) as before:
        states = {job.id: job for job in session.execute(select(Job)).scalars()}
        now = [states[jobs[status]].status for status in jobs]
        assert now == [Status.SUCCEEDED, Status.PAUSED, Status.QUEUED, Status.PAUSED, Status.CANCELLED]
        assert [job.faults for job in states.values()] == [0] * 6
        assert [job.lease_expires_at for job in states.values()] == [None] * 6
        assert session.execute(select(WorkerRow)).all() == []
        (ended,) = attempts.attempts_of(session, jobs[Status.RUNNING])
        assert ended.cause == "handed_back"
        for table in (Metric, Artifact, Checkpoint, Model):
            query = text(f"SELECT * FROM {table.__tablename__} ORDER BY 1, 2")
            assert session.execute(query).all() == before.execute(query).all() != []
    fence = states[jobs[Status.RUNNING]].fence
    worker_there = Worker(restored, store_of(target))
    claim = next(c for c in (worker_there.claim(), worker_there.claim()) if c.job_id == jobs[Status.RUNNING])
    assert (claim.attempt, claim.fence) == (2, fence + 1)
    with restored.read(DEFAULT) as session:
        ((step, stored),) = attempts.checkpoints(session, claim.job_id)
    worker_there.store.fetch(stored.sha256, tmp_path / "checkpoint")
    assert step == 1
    restored.dispose()


def test_users_datasets_come_back(settings: Settings, database: Database, worker: Worker, tmp_path: Path) -> None:
    """What is ready with its images, what is being validated with its upload."""
    done, waiting = ready(worker, "leaves"), upload(worker, "moss", b"another upload")
    assert backup(settings, tmp_path / "copy").damaged == []
    target = elsewhere(settings)
    restore(target, tmp_path / "copy")
    restored = Database(target.resolved_database_url)
    store = store_of(target)
    with restored.read(DEFAULT) as session:
        assert datasets.resolve(session, "leaves") == done
        with store.open(datasets.get(session, done).sha256 or "") as file:
            assert file.read() == b"images"
        with store.open(datasets.get(session, waiting).source_sha256) as file:
            assert file.read() == b"another upload"
        assert not (target.artifacts_dir / datasets.get(session, done).source_sha256[:2]).exists()
    restored.dispose()


def test_a_backup_beside_pruning_and_deletes_holds_all_it_names(
    settings: Settings, database: Database, worker: Worker, tmp_path: Path
) -> None:
    over = threading.Event()
    done = [0]

    def work() -> None:
        while not over.is_set():
            submit(database)
            claim = worker.claim()
            for step in range(4):
                stored = worker.store.put_stream([os.urandom(100_000)])
                with worker.writing(claim) as (session, job):
                    dropped = attempts.add_checkpoint(session, job, step, stored, keep=1)
                worker.store.discard(database, dropped)
            worker.finish(claim)
            with database.write(DEFAULT) as session:
                gone = lifecycle.delete_job(session, claim.job_id)
            worker.store.discard(database, gone)
            done[0] += 1

    kept = job_in(worker, Status.SUCCEEDED)
    thread = threading.Thread(target=work)
    thread.start()
    copies = []
    try:
        while done[0] < 10 or len(copies) < 4:
            copies.append(tmp_path / f"copy-{len(copies)}")
            assert backup(settings, copies[-1]).damaged == []
    finally:
        over.set()
        thread.join()
    for number, copy in enumerate(copies):
        target = elsewhere(settings, f"elsewhere-{number}")
        restore(target, copy)
        restored = Database(target.resolved_database_url)
        with restored.read(DEFAULT) as session:
            assert session.get_one(Job, kept).status == Status.SUCCEEDED
            for table in (Artifact, Checkpoint, Model):
                for sha256 in session.execute(select(table.sha256)).scalars():
                    store_of(target).fetch(sha256, tmp_path / "fetched")
        restored.dispose()
    assert list(tmp_path.glob("*.partial-*")) == []


@pytest.fixture
def copy(settings: Settings, worker: Worker, tmp_path: Path) -> Path:
    job_in(worker, Status.SUCCEEDED)
    backup(settings, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(copy: Path, **changes: Any) -> None:
    document = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(document | changes))


def newer_revision(copy: Path) -> None:
    database = Database(f"sqlite:///{copy / 'adder.db'}")
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    entry = {"sha256": content(copy)["adder.db"], "bytes": (copy / "adder.db").stat().st_size}
    document = json.loads((copy / MANIFEST).read_text())
    rewrite(copy, files=document["files"] | {"adder.db": entry}, revision="9999")


def flip_a_bit(copy: Path) -> None:
    blob = next(path for path in (copy / "artifacts").rglob("*") if path.is_file())
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (flip_a_bit, "is corrupt"),
        (lambda copy: next(p for p in (copy / "artifacts").rglob("*") if p.is_file()).unlink(), "is missing"),
        (lambda copy: (copy / MANIFEST).unlink(), "is no backup"),
        (lambda copy: (copy / MANIFEST).write_text("{"), "cannot be read"),
        (lambda copy: (copy / MANIFEST).write_text('{"format": 1}'), "cannot be read"),
        (lambda copy: rewrite(copy, format=2), "format 2"),
        (lambda copy: rewrite(copy, files={"adder.db": {}, "../x": {}}), "is corrupt"),
        (lambda copy: rewrite(copy, files={}), r"lists no adder\.db"),
        (newer_revision, r"revision 9999.*Install"),
    ],
)
def test_a_spoilt_backup_is_refused_and_nothing_is_put_in_place(
    spoil: Any, says: str, settings: Settings, copy: Path
) -> None:
    spoil(copy)
    target = elsewhere(settings)
    with pytest.raises(BackupError, match=says):
        restore(target, copy)
    assert not target.data_dir.exists()
    assert list(target.data_dir.parent.glob("*.restoring-*")) == []


def test_a_path_that_leads_outside_is_refused(settings: Settings, copy: Path) -> None:
    document = json.loads((copy / MANIFEST).read_text())
    (copy.parent / "outside").write_text("x")
    rewrite(copy, files=document["files"] | {"../outside": {"sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1}})
    with pytest.raises(BackupError, match="lies outside"):
        restore(elsewhere(settings), copy)


def test_a_data_folder_in_use_or_not_empty_is_left_alone(settings: Settings, copy: Path, database: Database) -> None:
    before = content(settings.data_dir)
    with pytest.raises(BackupError, match=r"not empty.*--force"):
        restore(settings, copy)
    assert content(settings.data_dir) == before
    command = [sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); input()"]
    serving = [*command, str(settings.data_dir / "lock")]
    with subprocess.Popen([*serving[:2], serving[2].replace("input()", "print(1, flush=True); input()"), *serving[3:]],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # fmt: skip
        assert server.stdout is not None
        server.stdout.readline()
        with pytest.raises(BackupError, match="running on"):
            restore(settings, copy, force=True)
        server.kill()
    aside = restore(settings, copy, force=True)
    assert aside is not None
    assert {name: digest for name, digest in content(aside).items() if name in before} == before
    with Database(settings.resolved_database_url).read(DEFAULT) as session:
        assert len(session.execute(select(Job)).all()) == 1


def test_what_is_damaged_in_the_service_is_said_and_the_rest_copied(
    settings: Settings, worker: Worker, tmp_path: Path
) -> None:
    job_in(worker, Status.SUCCEEDED)
    job_in(worker, Status.PAUSED)
    blobs = [path for path in settings.artifacts_dir.rglob("*") if path.is_file() and path.name != "lock"]
    blobs[0].unlink()
    blobs[1].write_bytes(b"?")
    made = backup(settings, tmp_path / "copy")
    assert sorted(made.damaged) == sorted(path.name for path in blobs[:2])
    assert len(made.files) == 1 + len(blobs) - 2
    restore(elsewhere(settings), tmp_path / "copy")


def test_what_cannot_be_backed_up_is_said(settings: Settings, worker: Worker, tmp_path: Path) -> None:
    for changes, target, says in (
        ({}, tmp_path, "exists already"),
        ({"data_dir": tmp_path / "none"}, tmp_path / "x", "no database"),
        ({"database_url": "postgresql://host/adder"}, tmp_path / "x", "pg_dump"),
        ({"database_url": f"sqlite:///{tmp_path}/other.db"}, tmp_path / "x", "another database"),
        ({"artifacts_url": "s3://bucket/x"}, tmp_path / "x", "bucket"),
    ):
        other = Settings(**({"data_dir": settings.data_dir} | changes))
        with pytest.raises(BackupError, match=says):
            backup(other, target)
    assert not (tmp_path / "x").exists()


def adder(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("adder")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_commands_say_what_they_did(settings: Settings, worker: Worker, tmp_path: Path) -> None:
    job_in(worker, Status.SUCCEEDED)
    done = adder("backup", str(tmp_path / "copy"), "--data", str(settings.data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'copy'}: ")
    wrong = adder("restore", str(tmp_path / "copy"), "--data", str(settings.data_dir))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"adder restore: {settings.data_dir} is not empty.")
    done = adder("restore", str(tmp_path / "copy"), "--data", str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new" / "adder.db").exists()
