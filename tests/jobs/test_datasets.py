"""Users' datasets in the database: versions, what specs mean by them, how they end, what keeps their bytes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from addercore import config
from jobs.access.scope import DEFAULT, SERVICE
from jobs.clock import now_ms
from jobs.database import Database
from jobs.errors import Conflict, DatasetUnusable, NotFound, StoreError
from jobs.ids import new_id
from jobs.repository import attempts, datasets, lifecycle, models, outlook
from jobs.spec import SPEC
from jobs.states import Cause, FailureCode, Status
from jobs.store import ArtifactStore
from jobs.store.folder import FolderStore
from jobs.tables import Dataset, Job, Sweep
from tests.api.attempt import Worker
from tests.support.datasets import OPTIONS, make_ready, ready, upload
from tests.support.specs import train_body


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return FolderStore(tmp_path / "artifacts", 0.0)


@pytest.fixture
def worker(database: Database, store: ArtifactStore) -> Worker:
    return Worker(database, store)


def row_of(worker: Worker, id_: str) -> Dataset:
    with worker.database.read(DEFAULT) as session:
        return datasets.get(session, id_)


def resolve(worker: Worker, name: str) -> str:
    with worker.database.read(DEFAULT) as session:
        return datasets.resolve(session, name)


def delete(worker: Worker, id_: str) -> list[str]:
    with worker.database.write(DEFAULT) as session:
        return datasets.delete(session, datasets.get(session, id_))


def train_on(worker: Worker, name: str) -> str:
    with worker.database.write(DEFAULT) as session:
        spec = SPEC.validate_python(datasets.resolved(session, train_body(dataset={"name": name})))
        return lifecycle.submit(session, spec).job.id


def test_versions_count_by_name(worker: Worker) -> None:
    first, second, other = upload(worker, "a", b"1"), upload(worker, "a", b"2"), upload(worker, "b", b"1")
    assert [row_of(worker, id_).version for id_ in (first, second, other)] == [1, 2, 1]
    with worker.database.read(DEFAULT) as session:
        assert [datasets.find(session, name).id for name in (first, "a", "a@1", "b")] == [first, second, first, other]
        assert datasets.find(session, "a", 1).id == first
        for name in ("c", "a@3", "a@x", "a@", "@1", new_id("ds"), "a@1@1"):
            with pytest.raises(NotFound):
                datasets.find(session, name)
        with pytest.raises(NotFound):
            datasets.find(session, "a", 9)
        assert [row.id for row in datasets.list_page(session, limit=10, after=None).rows] == [other, second, first]


def test_the_same_upload_is_the_same_version_until_it_fails(worker: Worker) -> None:
    id_ = upload(worker, "a", b"1")
    source = row_of(worker, id_).source_sha256
    with worker.database.read(DEFAULT) as session:
        same = datasets.same_upload(session, "a", source, OPTIONS)
        assert same is not None
        assert same.id == id_
        assert datasets.same_upload(session, "b", source, OPTIONS) is None
        assert datasets.same_upload(session, "a", source, OPTIONS | {"seed": 1}) is None
    claim = worker.claim()
    worker.finish(claim, Status.FAILED, {"code": FailureCode.BAD_DATA, "message": "x", "log_tail": ""})
    with worker.database.read(DEFAULT) as session:
        assert datasets.same_upload(session, "a", source, OPTIONS) is None


def test_a_name_means_its_newest_version_that_is_ready(worker: Worker) -> None:
    first = ready(worker, "a", b"1")
    second = upload(worker, "a", b"2")
    assert resolve(worker, "a") == first
    with pytest.raises(DatasetUnusable, match=r"a@2 .* is still being validated, by job_"):
        resolve(worker, "a@2")
    make_ready(worker, second, b"2")
    assert [resolve(worker, name) for name in ("a", "a@1", first, second)] == [second, first, first, second]
    assert [resolve(worker, name) for name in ("digits", "ds_digits")] == ["digits", "digits"]
    assert config.is_dataset(first)
    assert config.dataset(second).description == "mine"


def test_a_dataset_that_is_not_there_is_told_from_one_that_failed(worker: Worker) -> None:
    with pytest.raises(DatasetUnusable, match="'moons' is no dataset; published: digits"):
        resolve(worker, "moons")
    id_ = upload(worker, "leaves")
    with pytest.raises(DatasetUnusable, match=r"'x\\x00' is no dataset; .*uploaded: leaves"):
        resolve(worker, "x\x00")
    with worker.database.write(DEFAULT) as session:
        lifecycle.cancel(session, datasets.get(session, id_).job_id or "")
    with pytest.raises(DatasetUnusable, match="is not usable: Cancelled before it ran"):
        resolve(worker, "leaves")


def test_the_same_images_are_the_same_version(worker: Worker) -> None:
    first = ready(worker, "a", b"same", b"1")
    second = ready(worker, "a", b"same", b"2")
    elsewhere = ready(worker, "b", b"same", b"3")
    assert [row_of(worker, id_).same_as for id_ in (first, second, elsewhere)] == [None, first, None]
    assert [resolve(worker, name) for name in ("a", second, "b")] == [first, first, elsewhere]
    digests = delete(worker, first)
    worker.store.discard(worker.database, digests)
    assert row_of(worker, second).same_as is None
    assert resolve(worker, "a") == second
    with worker.store.open(row_of(worker, second).sha256 or "") as file:
        assert file.read() == b"same"


def test_however_the_job_ends_the_dataset_has_ended(worker: Worker) -> None:
    queued, running, lost = (upload(worker, name, name.encode()) for name in ("queued", "running", "lost"))
    with worker.database.write(DEFAULT) as session:
        lifecycle.cancel(session, row_of(worker, queued).job_id or "")
    claim = worker.claim()
    worker.finish(claim, Status.FAILED, {"code": FailureCode.BAD_DATA, "message": "Two things.", "log_tail": ""})
    with worker.database.write(DEFAULT) as session:
        datasets.explain(session, running, ["One.", "Two."])
    for _ in range(3):
        claim = worker.claim()
        with worker.writing(claim) as (session, job):
            attempts.fault(session, job, "The worker is gone.")
    assert row_of(worker, queued).problems == ["Cancelled before it ran."]
    assert row_of(worker, running).problems == ["One.", "Two."]
    problems = row_of(worker, lost).problems
    assert problems is not None
    assert problems[0].startswith("The worker is gone.")
    assert {row_of(worker, id_).status for id_ in (queued, running, lost)} == {"failed"}


def test_a_dataset_that_is_needed_is_not_deleted(worker: Worker) -> None:
    id_ = upload(worker, "a")
    with pytest.raises(Conflict, match="is queued and needs the dataset"):
        delete(worker, id_)
    make_ready(worker, id_)
    job = train_on(worker, "a")
    with pytest.raises(Conflict, match=job):
        delete(worker, id_)
    with worker.database.write(DEFAULT) as session:
        lifecycle.cancel(session, job)
        stamp = session.execute(select(now_ms())).scalar_one()
        sweep = Sweep(id=new_id("sweep"), status="running", spec={"base": {"dataset": {"name": id_}}}, created_at=stamp)
        sweep.body_sha256 = "0" * 64
        session.add(sweep)
    with pytest.raises(Conflict, match="sweep_"):
        delete(worker, id_)
    with worker.database.write(DEFAULT) as session:
        sweep = session.merge(sweep)
        sweep.status, sweep.finished_at = "succeeded", stamp
    assert len(delete(worker, id_)) == 2
    with pytest.raises(NotFound):
        row_of(worker, id_)
    with pytest.raises(Conflict, match="is not there"), worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, SPEC.validate_python(train_body(dataset={"name": id_})))


def test_a_delete_waits_for_a_submission_under_way(worker: Worker) -> None:
    id_ = ready(worker, "a")
    said: list[str] = []

    def late() -> None:
        try:
            delete(worker, id_)
        except Conflict as error:
            said.append(str(error))

    thread = threading.Thread(target=late)
    with worker.database.write(DEFAULT) as session:
        spec = SPEC.validate_python(datasets.resolved(session, train_body(dataset={"name": id_})))
        job = lifecycle.submit(session, spec).job.id
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "the delete did not wait"
    thread.join(300)
    assert [job in text for text in said] == [True]


def test_the_store_keeps_what_a_dataset_needs(worker: Worker) -> None:
    def kept() -> set[str]:
        digests = {found.sha256 for prefix in range(256) for found in worker.store.blobs(f"{prefix:02x}")}
        with worker.database.read(SERVICE) as session:
            assert models.names_any(session)
            return digests - models.unreferenced(session, digests)

    id_ = upload(worker, "a")
    assert kept() == {row_of(worker, id_).source_sha256}
    make_ready(worker, id_)
    assert kept() == {row_of(worker, id_).sha256}
    failing = upload(worker, "b", b"other")
    worker.finish(worker.claim(), Status.FAILED, {"code": FailureCode.BAD_DATA, "message": "x", "log_tail": ""})
    assert kept() == {row_of(worker, id_).sha256}
    worker.store.discard(worker.database, [row_of(worker, failing).source_sha256, row_of(worker, id_).source_sha256])
    with pytest.raises(StoreError):
        worker.store.open(row_of(worker, failing).source_sha256)


def test_an_ingest_is_a_job_like_others(worker: Worker) -> None:
    """Before trainings, on the CPU, without a frozen environment; its job may go, the dataset stays."""
    with worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, SPEC.validate_python(train_body()))
    id_ = upload(worker, "a")
    claim = make_ready(worker, id_)
    assert (claim.kind, claim.device, claim.environment_key) == ("ingest", "cpu", None)
    with worker.database.write(DEFAULT) as session:
        assert session.get_one(Job, claim.job_id).status == Status.SUCCEEDED
        assert outlook.paces(session) == {}, "how long it took says nothing of trainings"
        lifecycle.delete_job(session, claim.job_id)
    assert (row_of(worker, id_).status, row_of(worker, id_).job_id) == ("ready", None)
    assert resolve(worker, "a") == id_


def test_pausing_an_ingest_leaves_the_dataset_waiting(worker: Worker) -> None:
    id_ = upload(worker, "a")
    claim = worker.claim()
    with worker.database.write(DEFAULT) as session:
        lifecycle.pause(session, claim.job_id)
    worker.pause(claim)
    assert row_of(worker, id_).status == "validating"
    with worker.database.write(DEFAULT) as session:
        lifecycle.resume(session, claim.job_id)
    make_ready(worker, id_)
    with worker.database.read(DEFAULT) as session:
        assert [row.cause for row in attempts.attempts_of(session, claim.job_id)] == [Cause.PAUSED, Cause.SUCCEEDED]
