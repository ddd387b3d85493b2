"""A job's and a model's name, notes, labels and star are edited on their pages, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until

Open = Callable[..., Visit]
EVIL = "<script>alert(1)</script>"


@pytest.fixture(params=["jobs", "models"])
def path(request: pytest.FixtureRequest, dashboard: Dashboard) -> str:
    """The path of a job's page and of a model's."""
    claim = dashboard.worker.start()
    return f"/jobs/{claim.job_id}" if request.param == "jobs" else f"/models/{dashboard.worker.publish(claim)}"


def kept(dashboard: Dashboard, path: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{dashboard.url}/v1{path}").json()
    return {name: found[name] for name in ("name", "notes", "labels", "starred")}


def test_the_form_sends_what_has_changed(visit: Open, dashboard: Dashboard, path: str) -> None:
    httpx2.patch(f"{dashboard.url}/v1{path}", json={"labels": {"a": "1", "b": "2"}, "notes": "as it was"})
    page = visit(path).page
    page.get_by_text("Name, notes, labels").click()
    page.get_by_label("Name").fill(f"the best {EVIL}")
    page.get_by_label("Labels").fill("a:1\nc:d:e")
    # Meanwhile somebody else sets a label, which this form does not know of.
    httpx2.patch(f"{dashboard.url}/v1{path}", json={"labels": {"other": "yes"}})
    page.get_by_role("button", name="Save").click()
    page.locator("#title", has_text=f"the best {EVIL}").wait_for()
    expected = {"name": f"the best {EVIL}", "notes": "as it was", "starred": False}
    assert kept(dashboard, path) == expected | {"labels": {"a": "1", "c": "d:e", "other": "yes"}}
    page.locator("#facts").get_by_text("other:yes").wait_for()
    page.get_by_text("Name, notes, labels").click()
    page.get_by_label("Name").fill("")
    page.get_by_label("Notes").fill("first\nsecond")
    page.get_by_role("button", name="Save").click()
    page.locator("#notes", has_text="second").wait_for()
    assert kept(dashboard, path)["name"] is None
    assert kept(dashboard, path)["notes"] == "first\nsecond"


def test_a_star_is_given_and_taken(visit: Open, dashboard: Dashboard, path: str) -> None:
    page = visit(path).page
    star = page.get_by_role("button", name="Star")
    assert star.get_attribute("aria-pressed") == "false"
    star.click()
    page.locator(".star[aria-pressed=true]").wait_for()
    wait_until(lambda: kept(dashboard, path)["starred"] is True, "the star")
    visit("/" if path.startswith("/jobs") else "/models").page.get_by_text("starred").first.wait_for(state="attached")
    page.get_by_role("button", name="Star").click()
    page.locator(".star[aria-pressed=false]").wait_for()
    wait_until(lambda: kept(dashboard, path)["starred"] is False, "no star")


def test_what_is_refused_is_said_at_the_form(visit: Open, dashboard: Dashboard, path: str) -> None:
    opened = visit(path)
    opened.expected = ["422"]
    page = opened.page
    page.get_by_text("Name, notes, labels").click()
    page.get_by_label("Labels").fill("no colon")
    page.get_by_role("button", name="Save").click()
    page.locator(".keeping [role=alert]", has_text="Write a label as key:value, not no colon").wait_for()
    page.get_by_label("Labels").fill("a:" + "x" * 300)
    page.get_by_role("button", name="Save").click()
    page.locator(".keeping [role=alert]", has_text="at most 256 characters").wait_for()
    assert kept(dashboard, path)["labels"] == {}


def test_another_sites_page_changes_nothing(dashboard: Dashboard, path: str) -> None:
    for call, body in (("PATCH", {"starred": True}), ("PUT", None), ("DELETE", None)):
        where = f"{dashboard.url}/v1{path}" + ("" if body else "/aliases/mine")
        answer = httpx2.request(call, where, json=body, headers={"Origin": "http://evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert kept(dashboard, path)["starred"] is False
