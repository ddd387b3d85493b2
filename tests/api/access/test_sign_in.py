"""Pages: signing in with a key, a cookie that ends with it, and the page's own origin for what changes something."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.api.access.conftest import Access, Party
from tests.api.access.test_keys import DEAD_SECONDS
from tests.support.specs import train_body

HTML = {"Accept": "text/html"}


def signed_in(client: httpx2.Client, key: str, to: str = "/") -> httpx2.Response:
    origin = {"Origin": str(client.base_url).rstrip("/")}
    return client.post("/sign-in", data={"key": key, "to": to}, headers=origin, follow_redirects=False)


@pytest.fixture
def party(guarded: Access) -> Party:
    return guarded.party("vision")


def test_a_page_sends_to_the_sign_in_and_back(guarded: Access, party: Party) -> None:
    with guarded.site.client() as client:
        away = client.get("/models?q=x", headers=HTML, follow_redirects=False)
        assert (away.status_code, away.headers["location"]) == (303, "/sign-in?to=%2Fmodels%3Fq%3Dx")
        form = client.get(away.headers["location"])
        assert 'name="to" value="/models?q=x"' in form.text
        done = signed_in(client, party.keys["member"], "/models?q=x")
        assert (done.status_code, done.headers["location"]) == (303, "/models?q=x")
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        assert party.keys["member"].split("_")[2] not in cookie
        page = client.get("/models?q=x", headers=HTML)
        assert page.status_code == 200
        assert "vision" in page.text
        assert "Bearer $ADDER_API_KEY" in client.get("/", headers=HTML).text
        assert client.get("/keys", headers=HTML).status_code == 403
        assert client.get("/usage", headers=HTML).status_code == 200


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "\\x"])
def test_the_sign_in_leads_nowhere_else(guarded: Access, party: Party, to: str) -> None:
    with guarded.site.client() as client:
        assert signed_in(client, party.keys["member"], to).headers["location"] == "/"


def test_a_wrong_key_signs_nobody_in(guarded: Access, party: Party) -> None:
    with guarded.site.client() as client:
        for key in ("", "adw_x", party.keys["revoked"], party.keys["expired"]):
            answer = signed_in(client, key)
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers


def test_a_cookie_changes_nothing_but_from_the_pages_own_origin(guarded: Access, party: Party) -> None:
    own = guarded.site.url
    other_scheme = own.replace("http://", "https://")
    with guarded.site.client() as client:
        signed_in(client, party.keys["member"])
        for origin in (None, "https://evil.example", "null", other_scheme):
            headers = {} if origin is None else {"Origin": origin}
            answer = client.post("/v1/jobs", json=train_body(), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), origin
        assert client.post("/v1/jobs", json=train_body(), headers={"Origin": own}).status_code == 201


def test_a_sign_in_ends_with_its_key_and_with_the_sign_out(guarded: Access, party: Party) -> None:
    with guarded.site.client() as first, guarded.site.client() as second, party.client("admin") as admin:
        signed_in(first, party.keys["member"])
        signed_in(second, party.keys["viewer"])
        assert first.get("/v1/jobs").status_code == second.get("/v1/jobs").status_code == 200
        origin = {"Origin": guarded.site.url}
        token = second.cookies["adder_session"]
        assert second.post("/sign-out", headers=origin, follow_redirects=False).status_code == 303
        with guarded.site.client(headers={"Cookie": f"adder_session={token}"}) as thief:
            assert thief.get("/v1/jobs").status_code == 401, "the row is gone, not the cookie alone"
        admin.delete(f"/v1/keys/{first.get('/v1/me').json()['key_id']}").raise_for_status()
        time.sleep(DEAD_SECONDS)
        assert first.get("/v1/jobs").status_code == 401


def test_the_pages_of_keys_usage_and_audit_show_the_project(guarded: Access, party: Party) -> None:
    other = guarded.party("audio")
    with party.client("member") as member:
        job = member.post("/v1/jobs", json=train_body()).json()["id"]
    with guarded.site.client() as client, guarded.site.client() as theirs:
        signed_in(client, party.keys["admin"])
        signed_in(theirs, other.keys["admin"])
        assert "vision member" in client.get("/keys", headers=HTML).text
        assert job in client.get("/audit", headers=HTML).text
        assert "queued jobs" in client.get("/usage", headers=HTML).text
        assert "vision" not in theirs.get("/keys", headers=HTML).text
        assert job not in theirs.get("/audit", headers=HTML).text
