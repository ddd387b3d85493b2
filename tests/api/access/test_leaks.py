"""The leaks between projects that are easy to miss, those that no other test of this folder has."""

from __future__ import annotations

import pytest

from jobs.access.scope import SERVICE
from jobs.tables import Job
from tests.api.access.conftest import CANARY, Access, Party
from tests.support.specs import train_body
from tests.support.uploads import folders, zipped


@pytest.fixture
def two(guarded: Access) -> tuple[Party, Party]:
    """A project with objects of each kind, and one without."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    return one, other


def test_a_cursor_of_another_project_begins_in_ones_own(two: tuple[Party, Party]) -> None:
    """A cursor is a place in the order and no right to read: nothing of the other project follows it."""
    one, other = two
    paths = ("/v1/jobs", "/v1/models", "/v1/datasets", "/v1/keys", "/v1/audit")
    with one.client("admin") as mine, other.client("admin") as theirs:
        theirs.post("/v1/jobs", json=train_body()).raise_for_status()
        for path in paths:
            cursor = mine.get(path, params={"limit": 1}).json()["next"]
            if cursor is None:
                continue
            answer = theirs.get(path, params={"limit": 100, "after": cursor})
            assert answer.status_code in (200, 422), path
            assert CANARY not in answer.text
            rows = mine.get(path, params={"limit": 100}).json()["data"]
            own = {row["id"] for row in rows if row.get("version", 1) is not None}  # published datasets are everybody's
            assert own, path
            assert not own & {row["id"] for row in answer.json().get("data", [])}, path


def test_a_conflict_names_nothing_of_another_project(two: tuple[Party, Party]) -> None:
    """What is in use there is no conflict here, and the sentence of a conflict has no other project's ids."""
    one, other = two
    with one.client() as mine, other.client() as theirs:
        model = one.ids["model"]
        mine.post("/v1/jobs", json=train_body(init_from=model)).raise_for_status()
        refused = mine.delete(f"/v1/models/{model}")
        assert refused.status_code == 409, "a job that waits names it"
        for path in (f"/v1/models/{model}", f"/v1/datasets/{one.ids['dataset']}", f"/v1/jobs/{one.ids['job']}"):
            assert theirs.delete(path).status_code == 404, path
        answer = theirs.put(f"/v1/models/{model}/aliases/{CANARY}")
        assert (answer.status_code, one.ids["model"] in answer.json()["detail"].replace(model, "")) == (404, False)


def test_the_same_images_in_two_projects_know_nothing_of_each_other(two: tuple[Party, Party]) -> None:
    one, other = two
    with other.client() as theirs:
        files = {"file": ("a.zip", zipped(folders(CANARY, "b")))}
        made = theirs.post("/v1/datasets", data={"name": "mine"}, files=files).raise_for_status().json()
        assert made["version"] == 1
        assert one.ids["dataset"] not in str(made), "no `same_as` of another project"
        assert theirs.get(f"/v1/datasets/{CANARY}").status_code == 404


def test_an_etag_opens_nothing(two: tuple[Party, Party]) -> None:
    """ETags are hashes of contents. Whoever guesses one is not told that the other project has the file."""
    one, other = two
    with one.client() as mine, other.client() as theirs:
        for path in (f"/v1/jobs/{one.ids['job']}/artifacts/log.txt", f"/v1/models/{one.ids['model']}/download"):
            tag = mine.get(path).headers["etag"]
            assert mine.get(path, headers={"If-None-Match": tag}).status_code == 304
            answer = theirs.get(path, headers={"If-None-Match": tag})
            assert (answer.status_code, "etag" in answer.headers) == (404, False)


def test_a_queue_of_others_shows_in_no_field_of_a_job(guarded: Access) -> None:
    """Position, expected start and what it waits for are the same with and without the jobs of others."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.worker.heartbeat()
    with one.client() as mine, other.client() as theirs:
        job = theirs.post("/v1/jobs", json=train_body()).raise_for_status().json()["id"]
        fields = ("queue_position", "waiting_for", "expected_start_at", "starts_at", "status")

        def seen() -> list[object]:
            row = theirs.get(f"/v1/jobs/{job}").json()
            return [row.get(name) for name in fields]

        before = seen()
        for priority in (0, 5, 1000):
            mine.post("/v1/jobs", json=train_body(priority=priority)).raise_for_status()
        assert seen() == before


def test_a_label_gives_a_project_no_more_of_the_workers(guarded: Access) -> None:
    """Users set labels: ten of them make no ten shares."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.worker.heartbeat()
    with one.client() as mine, other.client() as theirs:
        for number in range(6):
            mine.post("/v1/jobs", json=train_body(labels={"user": f"user-{number}"})).raise_for_status()
        for _ in range(2):
            theirs.post("/v1/jobs", json=train_body()).raise_for_status()
    order = [guarded.worker.claim().job_id for _ in range(4)]
    with guarded.database.read(SERVICE) as session:
        owners = [session.get_one(Job, id_).project_id for id_ in order]
    assert owners.count(other.project.id) == 2
