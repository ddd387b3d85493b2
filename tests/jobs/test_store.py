"""The artifact store, in a folder and in a real S3 server: what is put comes back, what is named is never removed."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from benchmarks.s3 import S3Server
from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.errors import StoreError, StoreFull, StoreUnavailable
from jobs.repository import lifecycle
from jobs.repository.attempts import Stored
from jobs.settings import Settings
from jobs.store import ArtifactStore, s3, store_of
from jobs.store.folder import FolderStore
from jobs.store.s3 import S3Store
from jobs.tables import Artifact
from tests.jobs.clocks import stopped_clock
from tests.support.servers import wait_until
from tests.support.specs import train_spec

GRACE = 2.0  # seconds; far longer than a blob waits for its row here


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(params=["folder", "s3"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    url = ""
    if request.param == "s3":
        for name, value in s3_server.environment.items():
            monkeypatch.setenv(name, value)
        url = s3_server.bucket()
    return Settings(data_dir=tmp_path / "data", artifacts_url=url, store_grace_seconds=GRACE, store_retry_seconds=0.5)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return store_of(settings)


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    yield database
    database.dispose()


@pytest.fixture
def job_id(lite: Database) -> str:
    with lite.write(DEFAULT) as session:
        return lifecycle.submit(session, train_spec()).job.id


def name_it(database: Database, job_id: str, stored: Stored, name: str) -> None:
    with database.write(DEFAULT) as session:
        session.add(
            Artifact(
                job_id=job_id,
                name=name,
                kind="other",
                media_type="text/plain",
                bytes=stored.bytes,
                sha256=stored.sha256,
                created_at=0,
            )
        )


def forget(database: Database, job_id: str, name: str) -> None:
    with database.write(DEFAULT) as session:
        session.execute(delete(Artifact).where(Artifact.job_id == job_id, Artifact.name == name))


def holds(store: ArtifactStore, sha256: str) -> bool:
    try:
        store.open(sha256).close()
    except StoreError:
        return False
    return True


def test_the_settings_choose_the_store(settings: Settings, store: ArtifactStore) -> None:
    assert isinstance(store, S3Store if settings.artifacts_url else FolderStore)
    for bad in ("s3://", "http://host/bucket", "bucket"):
        with pytest.raises(ValueError, match="s3://bucket/prefix"):
            Settings(artifacts_url=bad)


@pytest.mark.parametrize("size", [0, 1, 12 * 1024 * 1024 + 7])  # the last goes to S3 in several parts
def test_what_is_put_comes_back(store: ArtifactStore, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    source = tmp_path / "source"
    source.write_bytes(content)
    stored = store.put(source)
    assert stored == Stored(hashlib.sha256(content).hexdigest(), size)
    assert store.put_stream([content[: size // 2], content[size // 2 :]]) == stored
    store.fetch(stored.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    with store.local(stored.sha256) as path:
        assert path.read_bytes() == content
    for begin, count in ((0, 10), (size // 2, 3 * 1024 * 1024), (max(0, size - 5), 10)):
        with store.open(stored.sha256) as file:
            file.seek(begin)
            assert file.read(count) == content[begin : begin + count]
    assert [blob.sha256 for blob in store.blobs(stored.sha256[:2])] == [stored.sha256]
    assert list(store.incoming_dir.glob("*")) == []


def test_missing_and_corrupt_blobs_are_said(store: ArtifactStore, settings: Settings, s3_server: S3Server) -> None:
    stored = store.put_stream([b"what it should be"])
    target = settings.data_dir / "target"
    if isinstance(store, FolderStore):
        store.path(stored.sha256).write_bytes(b"what it is")
    else:
        bucket, _, prefix = settings.artifacts_url.removeprefix("s3://").partition("/")
        client = s3_server.client()
        listing = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{stored.sha256[:2]}/")  # type: ignore[attr-defined]
        client.put_object(Bucket=bucket, Key=listing["Contents"][0]["Key"], Body=b"what it is")  # type: ignore[attr-defined]
    target.parent.mkdir(exist_ok=True)
    with pytest.raises(StoreError, match="corrupt"):
        store.fetch(stored.sha256, target)
    with pytest.raises(StoreError, match="missing") as caught:
        store.fetch("0" * 64, target)
    assert not isinstance(caught.value, StoreUnavailable)
    assert not target.exists()
    assert not store.refresh("0" * 64)


def test_only_old_and_unnamed_blobs_are_removed(store: ArtifactStore, lite: Database, job_id: str) -> None:
    born = store.now()
    named, freed, orphan = (store.put_stream([text]) for text in (b"named", b"freed", b"orphan"))
    name_it(lite, job_id, named, "named")
    prefixes = {stored.sha256[:2] for stored in (named, freed, orphan)}
    with stopped_clock(store, born):
        assert store.discard(lite, [named.sha256, freed.sha256]) == 0, "the freed one is still young"
        assert sum(store.collect_orphans(lite, prefix) for prefix in prefixes) == 0
    store.put_stream([b"named"])  # in S3 a second generation
    wait_until(lambda: store.discard(lite, []) == 1, "the freed blob to grow old and be taken by a later discard")
    assert (holds(store, named.sha256), holds(store, freed.sha256)) == (True, False)
    wait_until(
        lambda: sum(store.collect_orphans(lite, prefix) for prefix in prefixes) == 1, "the sweep to find the orphan"
    )
    assert (holds(store, named.sha256), holds(store, orphan.sha256)) == (True, False)


def test_a_refresh_or_a_second_put_makes_a_blob_young(store: ArtifactStore, lite: Database, tmp_path: Path) -> None:
    blobs = {text: store.put_stream([text]).sha256 for text in (b"refreshed", b"put again", b"left alone", b"ensured")}
    born = store.now()
    wait_until(lambda: store.now() > born + GRACE + 1, "all blobs to grow old")
    with stopped_clock(store, store.now()):
        assert store.refresh(blobs[b"refreshed"])
        store.put_stream([b"put again"])
        (tmp_path / "file").write_bytes(b"ensured")
        store.ensure(Stored(blobs[b"ensured"], 7), lambda: store.put(tmp_path / "file"))
        assert store.discard(lite, blobs.values()) == 1
    assert [text for text, sha256 in blobs.items() if not holds(store, sha256)] == [b"left alone"]
    store.ensure(Stored(blobs[b"left alone"], 10), lambda: store.put(tmp_path / "file"))


def test_a_blob_named_again_while_it_is_discarded_stays(store: ArtifactStore, lite: Database, job_id: str) -> None:
    """The race of an import with a delete of the same bytes, many times."""
    texts = [f"blob {number}".encode() for number in range(60)]
    stored = [store.put_stream([text]) for text in texts]
    for number, blob in enumerate(stored):
        name_it(lite, job_id, blob, f"old {number}")
    born = store.now()
    wait_until(lambda: store.now() > born + GRACE + 1, "all blobs to grow old")
    together = threading.Barrier(2)

    def import_again() -> None:
        for number, text in enumerate(texts):
            together.wait()
            name_it(lite, job_id, store.put_stream([text]), f"new {number}")

    def remove() -> None:
        for number, blob in enumerate(stored):
            together.wait()
            forget(lite, job_id, f"old {number}")
            store.discard(lite, [blob.sha256])

    threads = [threading.Thread(target=import_again), threading.Thread(target=remove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, blob in enumerate(stored) if not holds(store, blob.sha256)] == []


def test_leftovers_of_uploads_go_when_they_are_old(store: ArtifactStore) -> None:
    with store.incoming() as upload:
        upload.write(b"half")
        os.utime(upload.path, (0, 0))
        assert store.clear_incoming(3600) == 1
    with store.incoming() as upload:
        assert store.clear_incoming(3600) == 0


def test_a_full_or_read_only_folder_is_said_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        store = FolderStore(tmp_path / "artifacts", GRACE)
        good = store.put_stream([b"g" * 2**20])
        with pytest.raises(StoreFull, match=rf"{tmp_path}.*{os.strerror(errno.ENOSPC)}.*Free space"):
            store.put_stream(b"x" * 4096 for _ in range(1024))
        assert list(store.incoming_dir.iterdir()) == []
        assert holds(store, good.sha256)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises(StoreFull, match=os.strerror(errno.EROFS)):
            store.put_stream([b"x"])
        assert holds(store, good.sha256)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_download_slower_than_a_request_may_take_is_mended(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.bucket()
    content = random.Random(1).randbytes(24 * 2**20)
    stored = S3Store(bucket, tmp_path, GRACE, 0.3).put_stream([content])
    monkeypatch.setattr(s3, "REQUEST_SECONDS", 1)
    store = S3Store(bucket, tmp_path, GRACE, 0.3)
    requests: list[int] = []
    stream = store.stream
    monkeypatch.setattr(
        store, "stream", lambda sha256, begin, end: requests.append(begin) or stream(sha256, begin, end)
    )
    got = bytearray()
    with store.open(stored.sha256) as file:
        while piece := file.read(2**20):
            got += piece
            time.sleep(0.15)  # the slow reader that this is about
    assert got == content
    assert len(requests) > 1


def test_an_absent_s3_store_is_tried_again_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lite: Database
) -> None:
    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = S3Store(server.bucket(), tmp_path, GRACE, 0.5)
    stored = store.put_stream([b"bytes"])
    with pytest.raises(StoreUnavailable, match="no such bucket"):
        S3Store("s3://bucket-none/x", tmp_path, GRACE, 0.5).put_stream([b"x"])
    server.close()
    reached = [
        lambda: store.put_stream([b"other"]),
        lambda: store.open(stored.sha256),
        lambda: store.fetch(stored.sha256, tmp_path / "target"),
        lambda: store.refresh(stored.sha256),
        lambda: store.collect_orphans(lite, stored.sha256[:2]),
    ]
    for call in reached:
        with pytest.raises(StoreUnavailable, match=r"s3://bucket.*retries.*ADDER_ARTIFACTS_URL"):
            call()
    assert store.discard(lite, [stored.sha256]) == 0, "put off, not failed: the row is gone already"
    assert not (tmp_path / "target").exists()
