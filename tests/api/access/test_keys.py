"""Keys: made, shown once, used, rotated, revoked."""

from __future__ import annotations

import re
import threading
import time

import httpx2
import pytest
from sqlalchemy import text

from jobs.access import keys
from jobs.access.keys import KEY, BadKey
from jobs.access.roles import Role
from jobs.access.scope import SERVICE
from tests.api.access.conftest import Access
from tests.support.servers import wait_until

DEAD_SECONDS = 2.0
"""After so long a revoked key opens nothing. Waits are for this and not shorter; nothing here measures speed."""


def test_a_key_has_a_form_and_a_check_against_typing_errors() -> None:
    made = keys.new_text()
    assert KEY.fullmatch(made)
    assert keys.parse(made)[0].startswith("key_")
    secret = made.split("_")[2]
    for at in range(len(made)):
        other = "b" if made[at] != "b" else "c"
        with pytest.raises(BadKey):
            keys.parse(made[:at] + other + made[at + 1 :])
    with pytest.raises(BadKey):
        keys.parse(made[:-1])
    assert len(secret) * 5 >= 160, "random bits, in base 32"


def test_a_key_is_shown_once_and_only_its_hash_is_stored(guarded: Access) -> None:
    party = guarded.party("vision")
    with party.client("admin") as admin:
        answer = admin.post("/v1/keys", json={"name": "ann", "role": "member"})
        assert answer.status_code == 201
        made = answer.json()
        assert KEY.fullmatch(made["key"])
        listed = admin.get("/v1/keys").json()["data"]
    assert made["id"] in {key["id"] for key in listed}
    secret = made["key"].split("_")[2]
    assert all("key" not in key for key in listed)
    with guarded.database.read(SERVICE) as session:
        whole = "".join(str(tuple(row)) for row in session.execute(text("SELECT * FROM keys")))
        whole += "".join(str(tuple(row)) for row in session.execute(text("SELECT * FROM audit")))
    assert secret not in whole
    with guarded.site.client(headers={"Authorization": f"bearer {made['key']}"}) as ann:
        me = ann.get("/v1/me").json()
    assert (me["project"], me["role"], me["name"], me["key_id"]) == ("vision", "member", "ann", made["id"])


def test_nobody_makes_or_ends_a_key_above_his_own(guarded: Access) -> None:
    party = guarded.party("vision")
    with party.client("admin") as admin:
        above = admin.post("/v1/keys", json={"name": "boss", "role": "operator"})
        assert above.status_code == 422
        assert above.json()["errors"][0]["pointer"] == "/role"
        operator = next(key for key in admin.get("/v1/keys").json()["data"] if key["role"] == "operator")
        assert admin.delete(f"/v1/keys/{operator['id']}").status_code == 403
        assert admin.post(f"/v1/keys/{operator['id']}/rotate").status_code == 403
        for body in ({"name": "x", "role": "king"}, {"name": "x", "expires_at": "tomorrow"}, {"name": ""}, {"x": 1}):
            assert admin.post("/v1/keys", json=body).status_code == 422, body


def test_a_rotated_key_lives_on_for_the_stated_time(guarded: Access) -> None:
    party = guarded.party("vision")
    with party.client("admin") as admin:
        old = admin.post("/v1/keys", json={"name": "ci"}).json()
        new = admin.post(f"/v1/keys/{old['id']}/rotate", params={"keep_seconds": 3600}).json()
        assert (new["name"], new["role"]) == ("ci", "member")
        for key in (old, new):
            with guarded.site.client(headers={"Authorization": f"Bearer {key['key']}"}) as client:
                assert client.get("/v1/jobs").status_code == 200
        assert admin.post(f"/v1/keys/{old['id']}/rotate").status_code == 409, "once"
        shown = {key["id"]: key for key in admin.get("/v1/keys").json()["data"]}
        assert shown[old["id"]]["replaced_by"] == new["id"]
        again = admin.post("/v1/keys", json={"name": "ci"}).json()
        admin.post(f"/v1/keys/{again['id']}/rotate", params={"keep_seconds": 0}).raise_for_status()
        with guarded.site.client(headers={"Authorization": f"Bearer {again['key']}"}) as client:
            assert client.get("/v1/jobs").status_code == 401


def test_a_revoked_key_is_dead_and_its_streams_end(guarded: Access) -> None:
    party = guarded.party("vision")
    claim = guarded.attempt(party)
    ended = threading.Event()
    opened = threading.Event()

    def follow() -> None:
        with party.client("viewer") as client, client.stream("GET", f"/v1/jobs/{claim.job_id}/stream") as answer:
            for _ in answer.iter_lines():
                opened.set()
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert opened.wait(60)
    with party.client("admin") as admin, party.client("viewer") as viewer:
        viewer_id = viewer.get("/v1/me").json()["key_id"]
        assert admin.get("/v1/me").json()["usage"]["streams"] == 1
        admin.delete(f"/v1/keys/{viewer_id}").raise_for_status()
        time.sleep(DEAD_SECONDS)
        assert viewer.get("/v1/jobs").status_code == 401
        assert ended.wait(60), "the stream ends although the job goes on"
        wait_until(lambda: admin.get("/v1/me").json()["usage"]["streams"] == 0, "the stream's place to be free")
    thread.join()


def test_the_last_use_of_a_key_is_kept(guarded: Access) -> None:
    party = guarded.party("vision")
    with party.client("admin") as admin:
        used = {key["role"]: key["last_used_at"] for key in admin.get("/v1/keys").json()["data"]}
        assert used["admin"] is not None or used["viewer"] is None
    with guarded.database.read(party.project) as session:
        rows = keys.list_keys(session, limit=20, after=None).rows
    assert {row.role for row in rows if row.last_used_at} == {Role.ADMIN}


def test_a_rate_is_held_and_says_when_to_come_back(guarded: Access) -> None:
    party = guarded.party("vision", requests_per_minute=3)
    with party.client("viewer") as viewer, party.client("member") as member:
        answers = [viewer.get("/v1/me") for _ in range(5)]
        assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
        refused = answers[-1]
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert member.get("/v1/me").status_code == 200, "each key has its own"


def test_the_error_of_a_key_names_no_secret(guarded: Access) -> None:
    party = guarded.party("vision")
    secret = party.keys["revoked"].split("_")[2]
    with guarded.site.client(headers={"Authorization": f"Bearer {party.keys['revoked']}"}) as client:
        answer = client.get("/v1/jobs")
    assert secret not in answer.text
    assert not re.search(r"adw_\w{30}", answer.text)


def test_an_operators_key_of_the_settings_opens_all(guarded: Access) -> None:
    made = keys.new_text()
    with guarded.database.write(SERVICE) as session:
        assert keys.enter_operator_key(session, made)
        assert not keys.enter_operator_key(session, made), "once more changes nothing"
        assert keys.has_operator(session)
    with guarded.site.client(headers={"Authorization": f"Bearer {made}"}) as operator:
        assert operator.get("/v1/me").json()["role"] == "operator"
        assert operator.get("/v1/system").status_code == 200
        assert operator.get("/metrics").status_code == 200
        made_project = operator.post("/v1/projects", json={"name": "audio", "limits": {"max_queued_jobs": 2}})
        assert made_project.status_code == 201
        listed = operator.get("/v1/projects").json()["data"]
        assert {row["name"] for row in listed} == {"default", "audio"}
        changed = operator.patch("/v1/projects/audio", json={"limits": {"max_streams": 3}}).json()
        assert (changed["limits"]["max_queued_jobs"], changed["limits"]["max_streams"]) == (2, 3)
        assert operator.delete("/v1/projects/audio").status_code == 204
        assert operator.delete("/v1/projects/default").status_code == 409


def test_with_authentication_off_everybody_is_the_operator_of_default(lite_api: httpx2.Client) -> None:
    me = lite_api.get("/v1/me").json()
    assert (me["key_id"], me["project"], me["role"]) == (None, "default", "operator")
    assert lite_api.get("/v1/jobs").status_code == 200
