"""A row that an older version stored and that cannot be sent hides nothing but itself, in calls and on pages."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jobs.access.scope import DEFAULT
from jobs.database import Database
from jobs.scheduling import Rules
from jobs.sweeps.driver import Driver
from tests.api.attempt import MANIFEST, Worker, model_file
from tests.support.specs import train_body
from tests.support.uploads import arrays, npz


def nested(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


BROKEN = {
    "300 objects in each other": nested(300),
    "more than the parser's stack": nested(100_000),
    "an integer beyond every float": '{"val/accuracy": 1' + "0" * 400 + "}",
    "an integer beyond Python's limit": '{"val/accuracy": 1' + "0" * 5000 + "}",
    "NaN": '{"val/accuracy": NaN}',
    "a text": '"x"',
    "a list": "[1]",
}
OF_ANOTHER_VERSION = {"an empty object": "{}", "an unknown object": '{"kind": "train", "dataset": [1], "colour": 3}'}
"""Documents that can be read and are no spec of this version."""
SQLITE_ONLY = ("NaN", "more than the parser's stack")
"""PostgreSQL does not take them."""


@pytest.fixture
def stored(api: httpx2.Client, worker: Worker) -> dict[str, list[str]]:
    return two_of_each(api)


def two_of_each(api: httpx2.Client) -> dict[str, list[str]]:
    """Ids of two objects of each kind; the first of each will be broken."""
    jobs = [api.post("/v1/jobs", json=train_body()).json()["id"] for _ in range(2)]
    models = []
    for fill in (b"\x00", b"\x01"):
        models.append(api.post("/v1/models", files={"weights": model_file(MANIFEST, fill)}).json()["id"])
    datasets = [
        api.post("/v1/datasets", data={"name": "leaves"}, files={"file": npz(**arrays(seed=seed))}).json()["id"]
        for seed in (1, 2)
    ]
    sweep = {"base": train_body(), "grid": {"seed": [0]}}
    sweeps = [api.post("/v1/sweeps", json=sweep).json()["id"] for _ in range(2)]
    return {"jobs": jobs, "models": models, "datasets": datasets, "sweeps": sweeps}


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
COLUMNS = [("jobs", "spec"), ("jobs", "result"), ("models", "metrics"), ("datasets", "info"), ("sweeps", "spec")]
PAGES = {"jobs": "/", "models": "/models", "datasets": "/datasets", "sweeps": "/sweeps"}


def set_column(database: Database, table: str, column: str, row: str, value: str) -> None:
    with database.write(DEFAULT) as session:
        session.execute(text(f"UPDATE {table} SET {column} = :value WHERE id = :id"), {"value": value, "id": row})


@pytest.mark.parametrize("name", BROKEN)
def test_a_listing_leaves_out_and_names_what_it_cannot_read(
    api: httpx2.Client, worker: Worker, stored: dict[str, list[str]], name: str
) -> None:
    if not worker.database.sqlite and name in SQLITE_ONLY:
        for table, column in COLUMNS:
            with pytest.raises(DBAPIError):  # there it cannot come in
                set_column(worker.database, table, column, stored[table][0], BROKEN[name])
        return
    for table, column in COLUMNS:
        bad, good = stored[table]
        with worker.database.read(DEFAULT) as session:
            before = session.execute(text(f"SELECT {column} FROM {table} WHERE id = :id"), {"id": bad}).scalar()
        set_column(worker.database, table, column, bad, BROKEN[name])
        listed = api.get(f"/v1/{table}", params={"limit": 100})
        assert listed.status_code == 200, (table, column)
        found = listed.json()
        assert bad in found["unreadable"], (table, column)
        ids = [row["id"] for row in found["data"]]
        assert good in ids
        assert bad not in ids
        page = api.get(PAGES[table])
        assert page.status_code == 200, (table, column)
        assert bad in page.text
        if table != "datasets":  # they have no page of their own
            opened = api.get(f"{PAGES[table].rstrip('/') or '/jobs'}/{bad}", headers={"Accept": BROWSER})
            assert (opened.status_code, opened.headers["content-type"]) == (409, "text/html; charset=utf-8")
            assert "cannot be read" in opened.text
        one = api.get(f"/v1/{table}/{bad}")
        assert (one.status_code, one.json()["code"]) == (409, "conflict"), (table, column)
        assert "cannot be read" in one.json()["detail"]
        kept = before if before is None or isinstance(before, str) else json.dumps(before)
        set_column(worker.database, table, column, bad, kept)
        again = api.get(f"/v1/{table}", params={"limit": 100}).json()
        assert "unreadable" not in again
        assert bad in [row["id"] for row in again["data"]]


CALLS = {
    "jobs": ("/pause", "/retry", "/continue", "/cancel", "/metrics", "/events", "/attempts", "/logs", "/artifacts"),
    "models": ("/predict", "/download"),
    "datasets": ("/preview",),
    "sweeps": ("/cancel", "/trials", "/table", "/figure.svg"),
}


@pytest.mark.parametrize(
    "name",
    [
        "an integer beyond Python's limit",
        "an unknown object",
        *(
            pytest.param(name, marks=pytest.mark.long("every call about every kind of row"))
            for name in ("300 objects in each other", "a text", "a list", "an empty object")
        ),
    ],
)
def test_no_call_about_such_a_row_is_the_servers_fault(lite_api: httpx2.Client, lite_worker: Worker, name: str) -> None:
    rows = two_of_each(lite_api)
    for table, column in COLUMNS:
        bad, good = rows[table]
        set_column(lite_worker.database, table, column, bad, (BROKEN | OF_ANOTHER_VERSION)[name])
        paths = [f"/v1/{table}/{bad}", *(f"/v1/{table}/{bad}{call}" for call in CALLS[table])]
        pages = [f"{PAGES[table].rstrip('/') or '/jobs'}/{bad}", f"/compare?job={bad}&job={good}", "/healthz"]
        for path in (PAGES[table], *paths, *pages, f"/v1/compare?job={bad}&job={good}", "/v1/system"):
            assert lite_api.get(path).status_code < 500, (table, column, path)
        for path in paths[1:]:
            assert lite_api.post(path).status_code < 500, (table, column, path)
            sent = lite_api.post(path, json={"epochs": 1})
            assert sent.status_code < 500 or sent.json()["code"] == "inference_unavailable", (table, column, path)
        assert lite_api.delete(paths[0]).status_code < 500, (table, column)
        assert lite_api.get(f"/v1/{table}").status_code == 200
    assert lite_api.post("/v1/jobs", json=train_body()).status_code == 201


@pytest.mark.parametrize("name", ["300 objects in each other", "an integer beyond Python's limit", *OF_ANOTHER_VERSION])
def test_a_sweep_that_cannot_be_read_ends_and_can_be_deleted(
    lite_api: httpx2.Client, lite_worker: Worker, name: str
) -> None:
    bad, good = (
        lite_api.post("/v1/sweeps", json={"base": train_body(), "grid": {"seed": [0, 1]}, "parallel": 1}).json()["id"]
        for _ in range(2)
    )
    (job,) = [row["job_id"] for row in lite_api.get(f"/v1/sweeps/{bad}/trials").json()["data"] if row["job_id"]]
    set_column(lite_worker.database, "sweeps", "spec", bad, (BROKEN | OF_ANOTHER_VERSION)[name])
    assert lite_api.post(f"/v1/sweeps/{bad}/cancel").status_code == 409
    Driver(lite_worker.database, Rules()).round()
    trials = lite_api.get(f"/v1/sweeps/{bad}/trials").json()["data"]
    assert [(row["status"], row["message"]) for row in trials] == [
        ("cancelled", "The sweep's spec cannot be read.")
    ] * 2
    assert lite_api.get(f"/v1/jobs/{job}").json()["status"] == "queued"
    assert lite_api.get(f"/v1/sweeps/{good}").json()["status"] == "running"
    assert lite_api.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert lite_api.delete(f"/v1/jobs/{job}").status_code == 204
    assert lite_api.delete(f"/v1/sweeps/{bad}").status_code == 204
    assert [row["id"] for row in lite_api.get("/v1/sweeps").json()["data"]] == [good]


def test_a_job_that_cannot_be_read_keeps_nobody_from_deleting_a_model(
    lite_api: httpx2.Client, lite_worker: Worker
) -> None:
    rows = two_of_each(lite_api)
    set_column(lite_worker.database, "jobs", "spec", rows["jobs"][0], BROKEN["an integer beyond Python's limit"])
    assert lite_api.delete(f"/v1/models/{rows['models'][0]}").status_code == 204


def test_the_data_of_an_event_that_cannot_be_read_is_left_out(api: httpx2.Client, worker: Worker) -> None:
    job = api.post("/v1/jobs", json=train_body()).json()["id"]
    with worker.database.write(DEFAULT) as session:
        session.execute(text("UPDATE events SET data = :value"), {"value": nested(300)})
    (event,) = api.get(f"/v1/jobs/{job}/events").json()["data"]
    assert "deeper than" in event["data"]["unreadable"]
    api.post(f"/v1/jobs/{job}/cancel")
    assert api.get(f"/v1/jobs/{job}/stream").text.count("event: event") == 2


def test_a_manifest_that_cannot_be_read_is_not_needed_by_the_list_and_its_model_can_be_deleted(
    api: httpx2.Client, worker: Worker, stored: dict[str, list[str]]
) -> None:
    bad, good = stored["models"]
    set_column(worker.database, "models", "manifest", bad, nested(300))
    assert {row["id"] for row in api.get("/v1/models").json()["data"]} == {bad, good}
    for path in (f"/v1/models/{bad}", f"/models/{bad}"):
        assert api.get(path).status_code == 409
    assert api.post(f"/v1/models/{bad}/predict", json={"array": [[1]]}).status_code == 409
    assert api.get(f"/v1/models/{bad}/download", params={"format": "manifest"}).status_code == 409
    assert api.delete(f"/v1/models/{bad}").status_code == 204


def test_a_list_of_models_does_not_carry_their_manifests(lite_api: httpx2.Client) -> None:
    for fill in range(20):
        manifest = MANIFEST | {"config": {"notes": "x" * 900_000}}
        model = lite_api.post("/v1/models", files={"weights": model_file(manifest, bytes([fill]))}).json()
        assert model["manifest"] == manifest
    listed = lite_api.get("/v1/models")
    assert len(listed.json()["data"]) == 20
    assert len(listed.content) < 20_000
    assert len(lite_api.get("/models").content) < 100_000


def test_nothing_is_written_that_could_not_be_read_back(api: httpx2.Client, worker: Worker) -> None:
    """Also what a worker writes: a result, progress, an event's data."""
    api.post("/v1/jobs", json=train_body())
    claim = worker.claim()
    values: list[Any] = [float("nan"), 2**63, "\ud800", json.loads(nested(40))]
    for value in values:
        with pytest.raises(Exception, match=r"finite|64 bits|surrogate|nested"), worker.writing(claim) as (_, job):
            job.progress = {"step": value}
    assert api.get(f"/v1/jobs/{claim.job_id}").json()["progress"]["step"] is None
