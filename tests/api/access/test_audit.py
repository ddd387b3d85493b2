"""Every call that changes something leaves a row of who did it, in the same transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from jobs.access.scope import SERVICE
from jobs.access.tables import AuditEntry
from jobs.tables import Job
from tests.api.access.conftest import CANARY, Access
from tests.support.specs import train_body


def test_a_deed_leaves_a_row_that_says_who_and_with_which_request(guarded: Access) -> None:
    party = guarded.party("vision")
    with party.client() as member, party.client("admin") as admin:
        made = member.post("/v1/jobs", json=train_body())
        job = made.json()["id"]
        stopped = member.post(f"/v1/jobs/{job}/cancel")
        key = member.get("/v1/me").json()["key_id"]
        rows = admin.get("/v1/audit", params={"object": job}).json()["data"]
    assert [row["action"] for row in rows] == ["POST /v1/jobs/{id}/cancel", "POST /v1/jobs"]
    assert {(row["key_id"], row["object_id"], row["address"]) for row in rows} == {(key, job, "127.0.0.1")}
    assert [row["request_id"] for row in rows] == [stopped.headers["x-request-id"], made.headers["x-request-id"]]


def test_what_was_refused_or_repeated_leaves_none(guarded: Access) -> None:
    party = guarded.party("vision", max_queued_jobs=1)
    with party.client() as member, party.client("admin") as admin:
        headers = {"Idempotency-Key": "k"}
        assert member.post("/v1/jobs", json=train_body(), headers=headers).status_code == 201
        assert member.post("/v1/jobs", json=train_body(), headers=headers).status_code == 200
        assert member.post("/v1/jobs", json=train_body()).status_code == 429
        assert member.post("/v1/jobs", json={"kind": "train"}).status_code == 422
        assert member.post("/v1/jobs?validate_only=true", json=train_body()).status_code == 200
        assert len(admin.get("/v1/audit").json()["data"]) == 1


def test_filling_a_project_leaves_a_row_for_each_object(guarded: Access) -> None:
    party = guarded.party("vision")
    guarded.fill(party, CANARY)
    with party.client("admin") as admin:
        objects = {row["object_id"] for row in admin.get("/v1/audit", params={"limit": 100}).json()["data"]}
        assert {party.ids[kind] for kind in ("job", "model", "dataset", "sweep")} <= objects


def test_a_deed_and_its_row_are_there_together_or_not_at_all(guarded: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.access import audit

    party = guarded.party("vision")

    def fails(*_: object) -> None:
        raise RuntimeError("the audit cannot be written")

    monkeypatch.setattr(audit, "write", fails)
    with party.client() as member:
        assert member.post("/v1/jobs", json=train_body()).status_code == 500
    with guarded.database.read(SERVICE) as session:
        assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 0
        assert session.execute(select(func.count()).select_from(AuditEntry)).scalar_one() == 0
