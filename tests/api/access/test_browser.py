"""Signing in, keys, usage and audit in a browser, with the page's own policies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.access.admission import COOKIE
from jobs.store import store_of
from tests.api.access.conftest import Access
from tests.api.dashboard import Dashboard, Visit
from tests.api.stand_in import StandIn
from tests.support.servers import wait_until
from tests.support.specs import train_body

Open = Callable[..., Visit]


@pytest.fixture
def dashboard(guarded: Access) -> Dashboard:
    """A server that needs keys."""
    worker = StandIn(guarded.database, store_of(guarded.site.settings))
    worker.heartbeat()
    return Dashboard(guarded.site.url, worker)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.long("drives a browser through six pages")
def test_an_admin_signs_in_looks_and_revokes_a_key(guarded: Access, dashboard: Dashboard, visit: Open) -> None:
    party = guarded.party("vision", max_queued_jobs=7)
    with party.client() as api:
        job = api.post("/v1/jobs", json=train_body()).raise_for_status().json()["id"]
    with party.client("admin") as admin:
        made = admin.post("/v1/keys", json={"name": "ann", "role": "viewer"}).raise_for_status().json()
    opened = visit("/usage")
    opened.expected = ["401"]
    page = opened.page
    assert page.url.endswith("/sign-in?to=%2Fusage")
    page.fill("input[name=key]", "adw_wrong")
    page.click("main button")
    page.wait_for_selector("[role=alert]")
    page.fill("input[name=key]", party.keys["admin"])
    page.click("main button")
    page.wait_for_url("**/usage")
    assert "queued jobs" in page.inner_text("main")
    assert "7" in page.inner_text("main")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Lax")
    page.goto(f"{dashboard.url}/audit")
    assert job in page.inner_text("main")
    page.goto(f"{dashboard.url}/jobs/{job}")
    page.click("button[data-path$='/cancel']")
    page.click("#confirm-yes")
    with party.client() as api:
        wait_until(lambda: api.get(f"/v1/jobs/{job}").json()["status"] == "cancelled", "the button to cancel the job")
    page.goto(f"{dashboard.url}/keys")
    row = page.locator(f"#{made['id']}")
    row.locator("button").click()
    with page.expect_navigation():
        page.click("#confirm-yes")
    with guarded.site.client(headers={"Authorization": f"Bearer {made['key']}"}) as ann:
        wait_until(lambda: ann.get("/v1/jobs").status_code == 401, "the key to be revoked")
    page.goto(f"{dashboard.url}/")
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    assert page.context.cookies() == []
