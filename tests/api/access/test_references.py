"""What a job names must be of its own project: at the submission, and again at the claim."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from jobs.access.scope import SERVICE
from jobs.errors import NotFound
from jobs.tables import Job
from tests.api.access.conftest import CANARY, Access, Party
from tests.support.specs import train_body
from worker.inputs import inputs_of


def naming(one: Party) -> dict[str, dict[str, Any]]:
    """Specs that name objects of a project, by the field."""
    model, dataset = one.ids["model"], one.ids["dataset"]
    evaluate = {"kind": "evaluate", "dataset": {"name": "digits"}}
    return {
        "init_from": train_body(init_from=model),
        "an alias": train_body(init_from=one.ids["alias"]),
        "distill.teacher": train_body(distill={"teacher": model}),
        "model_id": {**evaluate, "model_id": model},
        "model_id by alias": {**evaluate, "model_id": one.ids["alias"]},
        "dataset by id": train_body(dataset={"name": dataset}),
        "dataset by name": train_body(dataset={"name": CANARY}),
        "analyze": {"kind": "analyze", "recipe": "table1", "model_id": model},
    }


def test_a_spec_names_nothing_of_another_project(guarded: Access) -> None:
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    with other.client() as api:
        for field, spec in naming(one).items():
            answer = api.post("/v1/jobs", json=spec)
            assert answer.status_code == 422, (field, answer.text)
            sweep = api.post("/v1/sweeps", json={"base": spec, "grid": {"seed": [1, 2]}})
            assert sweep.status_code == 422, (field, sweep.text)
        assert api.get("/v1/jobs").json()["data"] == []
        for path in ("retry", "continue"):
            body = {"json": {"epochs": 1}} if path == "continue" else {}
            assert api.post(f"/v1/jobs/{one.ids['job']}/{path}", **body).status_code == 404
        compared = api.get("/v1/compare", params={"job": [one.ids["job"], one.ids["job"][:-1] + "0"]})
        assert compared.status_code == 404
        assert api.get("/v1/resolve", params={"id": one.ids["job"][-8:]}).json()["data"] == []


def test_a_claim_reads_nothing_of_another_project(guarded: Access) -> None:
    """Should a row name it nevertheless, as after an error of the API, the attempt does not find it."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    claim = guarded.attempt(other)
    fields = {"init_from": one.ids["model"], "distill": {"teacher": one.ids["model"]}}
    fields["dataset"] = {"name": one.ids["dataset"]}
    for field, value in fields.items():
        with guarded.database.write(SERVICE) as session:
            job = session.get_one(Job, claim.job_id)
            job.spec = {**claim.spec, field: value}
            session.flush()
            changed = type(claim)(**{**vars(claim), "spec": job.spec})
        with guarded.database.read(changed.project) as session, pytest.raises(NotFound):
            inputs_of(session, changed)


def test_names_keys_and_bytes_are_a_projects_own(guarded: Access) -> None:
    """The same Idempotency-Key, dataset name, alias and file, in two projects, are two things."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    guarded.fill(other, CANARY)
    for kind in ("job", "model", "dataset", "sweep"):
        assert one.ids[kind] != other.ids[kind]
    with one.client() as mine, other.client() as theirs:
        shown = [api.get(f"/v1/datasets/{CANARY}").json()["version"] for api in (mine, theirs)]
        assert shown == [1, 1], "versions count in a project"
        assert mine.get(f"/v1/models/{CANARY}").json()["id"] == one.ids["model"]
        assert theirs.get(f"/v1/models/{CANARY}").json()["id"] == other.ids["model"]
        # The bytes lie in the store once; whoever deletes his model takes nothing from the other.
        assert mine.delete(f"/v1/models/{one.ids['model']}").status_code == 204
        guarded.worker.store.discard(guarded.database, [])
        whole = theirs.get(f"/v1/models/{other.ids['model']}/download")
        assert whole.status_code == 200


def test_counts_positions_and_sentences_tell_nothing_of_others(guarded: Access) -> None:
    one, other = guarded.party("vision"), guarded.party("audio")
    with one.client() as mine, other.client() as theirs:
        for _ in range(5):
            mine.post("/v1/jobs", json=train_body()).raise_for_status()
        job = theirs.post("/v1/jobs", json=train_body()).json()
        assert job["queue_position"] == 1
        page = theirs.get("/", headers={"Accept": "text/html"}).text
        assert "<b>1</b> queued" in page
        assert "worker" not in page.split('id="health-more"')[0].split("</nav>")[1].replace("no worker", "")
        ready = theirs.get("/readyz").json()["checks"]
        assert {check["detail"] for check in ready.values()} <= {"well", "not well"}


@pytest.mark.long("eight databases of PostgreSQL")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", ["jobs", "models", "datasets", "sweeps", "metrics", "events", "artifacts", "keys"])
def test_postgresql_itself_hides_other_projects(guarded: Access, table: str) -> None:
    """A statement that forgot its condition shows nothing of others: row security stands behind the criteria."""
    one, other = guarded.party("vision"), guarded.party("audio")
    guarded.fill(one, CANARY)
    counted = text(f"SELECT count(*) FROM {table}")
    with guarded.database.read(SERVICE) as session:
        assert session.execute(counted).scalar_one() > 0
    with guarded.database.read(one.project) as session:
        assert session.execute(counted).scalar_one() > 0
    with guarded.database.read(other.project) as session:
        assert session.execute(counted).scalar_one() == (6 if table == "keys" else 0)
    with guarded.database.engine.connect() as connection:
        assert connection.execute(counted).scalar_one() == 0, "without a scope there is nothing to be seen"
