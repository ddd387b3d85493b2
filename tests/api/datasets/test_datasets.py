"""Datasets over REST: uploads streamed, refused and versioned; specs that name them; delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from addercore.config import DATASETS
from addercore.config import datasets as known
from jobs.access.scope import DEFAULT
from jobs.store import SHA256
from jobs.store.folder import FolderStore
from tests.api.attempt import Worker
from tests.api.conftest import Running, running
from tests.conftest import quick_settings
from tests.support.datasets import make_ready
from tests.support.servers import Valkey
from tests.support.specs import train_body
from tests.support.uploads import arrays, folders, npz, tarred, zipped

NPZ = npz(**arrays())


def send(api: httpx2.Client, data: bytes = NPZ, name: str = "leaves", options: Any = None) -> httpx2.Response:
    fields = {"name": name} | ({} if options is None else {"options": json.dumps(options)})
    return api.post("/v1/datasets", data=fields, files={"file": ("whatever.bin", data)})


def pointers(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["pointer"] for error in answer.json()["errors"]]


def blobs(site: Running) -> list[Path]:
    return [path for path in site.settings.artifacts_dir.rglob("*") if SHA256.fullmatch(path.name)]


def test_an_upload_becomes_a_dataset_in_validation(api: httpx2.Client, worker: Worker) -> None:
    answer = send(api, options={"size": [32, 32]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
    assert (made["name"], made["version"], made["status"], made["available"]) == ("leaves", 1, "validating", False)
    assert made["bytes"] == len(NPZ)
    assert made["classes"] is None
    job = api.get(f"/v1/jobs/{made['job_id']}").json()
    assert (job["kind"], job["status"], job["labels"]) == ("ingest", "queued", {"dataset": "leaves"})
    assert job["spec"]["options"]["size"] == [32, 32]
    assert [row["id"] for row in api.get("/v1/jobs?kind=ingest").json()["data"]] == [job["id"]]

    make_ready(worker, made["id"])
    for path in (
        answer.headers["location"],
        "/v1/datasets/leaves",
        "/v1/datasets/leaves@1",
        "/v1/datasets/leaves?version=1",
    ):
        found = api.get(path).json()
        assert (found["id"], found["status"], found["available"]) == (made["id"], "ready", True)
        assert (found["input_shape"], found["problems"], found["notes"]) == ([1, 32, 32], [], ["A note."])


def test_a_contact_sheet_is_streamed_from_the_store(api: httpx2.Client, worker: Worker) -> None:
    id_ = send(api).json()["id"]
    assert api.get("/v1/datasets/leaves/preview").status_code == 404
    make_ready(worker, id_, sheet=b"\x89PNG picture")
    path = api.get("/v1/datasets/leaves").json()["preview"]
    assert path == f"/v1/datasets/{id_}/preview"
    answer = api.get(path)
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG picture", "image/png")
    assert api.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert "only uploaded datasets" in api.get("/v1/datasets/digits/preview").json()["detail"]


@pytest.mark.parametrize(
    ("data", "format_"),
    [(NPZ, "npz"), (zipped(folders("a", "b")), "zip"), (tarred(folders("a", "b")), "tar"),
     (tarred(folders("a", "b"), "w:gz"), "tar"), (b"PAR1...PAR1", "parquet")],
)  # fmt: skip
def test_the_format_is_told_by_content(lite_api: httpx2.Client, lite_worker: Worker, data: bytes, format_: str) -> None:
    from jobs.repository import datasets

    id_ = send(lite_api, data).json()["id"]
    with lite_worker.database.read(DEFAULT) as session:
        assert datasets.get(session, id_).format == format_


def test_the_same_upload_again_is_the_same_version(api: httpx2.Client) -> None:
    first = send(api)
    again = send(api)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    other = send(api, options={"seed": 1})
    assert (other.status_code, other.json()["version"]) == (201, 2)
    assert send(api, name="other").json()["version"] == 1
    assert len(api.get("/v1/jobs").json()["data"]) == 3


@pytest.mark.parametrize(
    "name", ["", "digits", "mnist", "ds_mine", "a b", "é", "x" * 65, ".hidden", "a/b", "a@2", "a\n"]
)
def test_names_that_are_none(lite_api: httpx2.Client, lite: Running, name: str) -> None:
    assert pointers(send(lite_api, name=name)) == ["/name"]
    assert blobs(lite) == []
    assert lite_api.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("options", "pointer"),
    [({"size": [0, 32]}, "/options/size/0"), ({"size": 32}, "/options/size"), ({"size": [32, 5000]}, "/options/size/1"),
     ({"channels": 2}, "/options/channels"), ({"validation_fraction": 1}, "/options/validation_fraction"),
     ({"seed": -1}, "/options/seed"), ({"colour": 3}, "/options/colour"), ([], "/options"),
     ({"on_bad_image": "ignore"}, "/options/on_bad_image"), ({"max_skipped": -1}, "/options/max_skipped"),
     ({"transparent_on": "red"}, "/options/transparent_on"), ({"value_range": "0..2"}, "/options/value_range"),
     ({"columns": {"picture": "x"}}, "/options/columns/picture")],
)  # fmt: skip
def test_options_that_are_none(lite_api: httpx2.Client, options: Any, pointer: str) -> None:
    assert pointers(send(lite_api, options=options)) == [pointer]


def test_forms_that_are_none(lite_api: httpx2.Client) -> None:
    assert pointers(lite_api.post("/v1/datasets", data={"name": "a"}, files={"weights": b"x"})) == ["/weights"]
    assert pointers(lite_api.post("/v1/datasets", files={"file": NPZ})) == ["/name"]
    assert lite_api.post("/v1/datasets", json={"name": "a"}).status_code == 415
    answer = lite_api.post("/v1/datasets", data={"name": "a", "options": "{"}, files={"file": NPZ})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")
    assert pointers(lite_api.post("/v1/datasets", data={"name": "a" * 5000}, files={"file": NPZ})) == ["/name"]


@pytest.mark.parametrize("data", [b"", b"\x80\x05K.", b"GIF89a" + bytes(100)])
def test_an_unknown_format_is_refused_at_once(lite_api: httpx2.Client, lite: Running, data: bytes) -> None:
    answer = send(lite_api, data)
    assert pointers(answer) == ["/file"]
    for known_format in (".npz", "zip", "tar", "Parquet"):
        assert known_format in answer.json()["errors"][0]["detail"]
    assert blobs(lite) == []


def test_an_upload_that_is_too_long(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> None:
    settings = quick_settings(tmp_path, sqlite_url, valkey.url, max_dataset_bytes=100_000)
    with running(settings) as site, site.client() as api:
        for size in (100_001, 1_000_000):
            answer = send(api, NPZ + bytes(size - len(NPZ)))
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert send(api, NPZ + bytes(100_000 - len(NPZ))).status_code == 201
        assert len(blobs(site)) == 1
        assert list(FolderStore(settings.artifacts_dir, 0.0).incoming_dir.iterdir()) == []


def test_published_and_own_datasets_in_pages(api: httpx2.Client) -> None:
    ids = [send(api, name=f"own{i}").json()["id"] for i in range(3)]
    expected = [*(f"ds_{name}" for name in sorted(DATASETS)), *reversed(ids)]
    assert [row["id"] for row in api.get("/v1/datasets?limit=100").json()["data"]] == expected
    for limit in range(1, len(expected) + 2):
        found: list[str] = []
        after: str | None = None
        while after is not None or not found:
            page = api.get("/v1/datasets", params={"limit": limit} | ({"after": after} if after else {})).json()
            found += [row["id"] for row in page["data"]]
            after = page["next"]
            assert page["has_more"] == (after is not None)
            assert len(page["data"]) <= limit
        assert found == expected
    assert api.get("/v1/datasets?after=nonsense").json()["code"] == "bad_cursor"


def test_a_spec_names_a_dataset_by_name_or_id(
    api: httpx2.Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = send(api).json()["id"]
    body = train_body(dataset={"name": "leaves"})
    answer = api.post("/v1/jobs", json=body | {"epochs": 0})
    assert pointers(answer) == ["/dataset/name", "/epochs"]
    assert "still being validated" in answer.json()["errors"][0]["detail"]
    make_ready(worker, id_)
    monkeypatch.setattr(known, "_UPLOADED", {})  # as after a restart
    for name in ("leaves", "leaves@1", id_):
        job = api.post("/v1/jobs", json=train_body(dataset={"name": name}))
        assert job.status_code == 201, job.text
        assert job.json()["spec"]["dataset"]["name"] == id_
        checked = api.post("/v1/jobs?validate_only=true", json=train_body(dataset={"name": name})).json()
        assert checked["model"]["operations"]["add"] > 0
    worker.finish(worker.claim())
    monkeypatch.setattr(known, "_UPLOADED", {})
    assert api.post(f"/v1/jobs/{job.json()['id']}/cancel").status_code == 202
    again = api.post(f"/v1/jobs/{job.json()['id']}/retry")
    assert (again.status_code, again.json()["spec"]["dataset"]["name"]) == (201, id_)


def test_a_dataset_that_is_not_there(lite_api: httpx2.Client) -> None:
    for name in ("moons", "leaves@2", "ds_01jv3m8z4k6wq0x9t2rhf5ybcd", "\x00", "x" * 101):
        body = json.dumps(train_body(dataset={"name": name}))
        answer = lite_api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert pointers(answer) == ["/dataset/name"]
        assert "published: digits" in answer.json()["errors"][0]["detail"]
    for path in ("moons", "leaves@2", "ds_01jv3m8z4k6wq0x9t2rhf5ybcd", "a%00", "digits?version=1"):
        assert lite_api.get(f"/v1/datasets/{path}").status_code == 404


def test_the_validation_is_no_job_to_submit_or_retry(lite_api: httpx2.Client) -> None:
    made = send(lite_api).json()
    body = {"kind": "ingest", "dataset_id": made["id"]}
    assert pointers(lite_api.post("/v1/jobs", json=body)) == ["/kind"]
    job = f"/v1/jobs/{made['job_id']}"
    assert lite_api.post(f"{job}/cancel").json()["status"] == "cancelled"
    found = lite_api.get(f"/v1/datasets/{made['id']}").json()
    assert (found["status"], found["problems"]) == ("failed", ["Cancelled before it ran."])
    answer = lite_api.post(f"{job}/retry")
    assert (answer.status_code, "Upload the file again" in answer.json()["detail"]) == (409, True)
    assert send(lite_api).json()["version"] == 2


def test_deleting_a_dataset(api: httpx2.Client, worker: Worker, site: Running) -> None:
    id_ = send(api).json()["id"]
    assert api.delete(f"/v1/datasets/{id_}").status_code == 409
    make_ready(worker, id_)
    job = api.post("/v1/jobs", json=train_body(dataset={"name": "leaves"})).json()["id"]
    refused = api.delete("/v1/datasets/leaves")
    assert (refused.status_code, job in refused.json()["detail"]) == (409, True)
    api.post(f"/v1/jobs/{job}/cancel")
    assert api.delete("/v1/datasets/leaves@1").status_code == 204
    assert api.get(f"/v1/datasets/{id_}").status_code == 404
    assert api.delete(f"/v1/datasets/{id_}").status_code == 404
    assert api.delete("/v1/datasets/digits").status_code == 409
    retried = api.post(f"/v1/jobs/{job}/retry")
    assert (retried.status_code, "is no dataset" in retried.json()["detail"]) == (409, True)
