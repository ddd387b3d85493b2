"""The list of jobs in a browser: it stays current without being loaded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until

Open = Callable[..., Visit]


def look_again(page: Any) -> bool:
    """What coming back to the tab does: a refresh at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    return True


def test_rows_arrive_and_change_while_the_page_stays(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    page = visit("/").page
    row = page.locator(f"#{claim.job_id}")
    row.locator(".badge.running").wait_for()
    page.evaluate("id => { document.getElementById(id).mine = true }", claim.job_id)
    dashboard.worker.epoch(claim, 5)
    newer = dashboard.worker.submit(labels={"n": "2"})
    page.locator(f"#{newer} .badge.queued").wait_for()
    row.get_by_text("50 % · 50 s left").wait_for()
    dashboard.worker.succeed(claim)
    row.locator(".badge.succeeded").wait_for()
    assert row.locator(".c-accuracy").inner_text() == "98.61 %"
    assert page.evaluate("id => document.getElementById(id).mine", claim.job_id), "the row is the same element"
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [newer, claim.job_id]


def test_the_first_job_replaces_the_introduction(visit: Open, dashboard: Dashboard) -> None:
    page = visit("/").page
    page.get_by_role("heading", name="Train a network that adds").wait_for()
    assert page.locator("#tabs").is_hidden()
    job = dashboard.worker.submit()
    page.locator(f"#{job}").wait_for()
    assert page.locator("#tabs").is_visible()


def test_tabs_and_labels_filter(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start(labels={"study": "eta"})
    other = dashboard.worker.submit(labels={"study": "seed"})
    page = visit("/").page
    page.get_by_role("link", name="Queued").click()
    page.wait_for_url("**status=queued")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [other]
    page.get_by_role("link", name="All").click()
    page.locator(f"#{claim.job_id}").get_by_text("study:eta").click()
    page.wait_for_url("**label=study**")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [claim.job_id]
    page.locator("#filters input[name=label]:not([type=hidden])").fill("study:seed")
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("No job matches").wait_for()


def test_jobs_are_searched_and_sorted_by_a_column(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    claims = [worker.start(labels={"n": str(n)}) for n in range(3)]
    for claim, accuracy in zip(claims, (0.5, 0.9, 0.7), strict=True):
        worker.succeed(claim, **{"val/accuracy": accuracy})
    waits = worker.submit(labels={"n": "eta"})
    best = [claims[1].job_id, claims[2].job_id, claims[0].job_id, waits]
    page = visit("/").page
    page.get_by_role("link", name="Val accuracy").click()
    page.wait_for_url("**sort=metric*")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == best
    assert page.locator("th[aria-sort=descending]").inner_text() == "Val accuracy ↓"
    page.get_by_role("link", name="Val accuracy").click()
    page.wait_for_url("**order=asc*")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [*best[2::-1], waits]
    page.get_by_label("Search").fill("eta")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**q=eta*")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [waits]
    page.locator(".chips").get_by_text("eta").click()
    page.locator(f"#{best[0]}").wait_for()
    page.get_by_label("Starred").check()
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("No job matches").wait_for()


def test_health_names_the_parts(visit: Open, dashboard: Dashboard) -> None:
    page = visit("/").page
    page.locator("#readiness", has_text="ready").wait_for()
    page.locator("#health summary").click()
    page.locator("#parts li.ok", has_text="database").wait_for()
    assert "atelier" in page.locator(".pop").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#health[open]").count() == 0


def test_a_server_that_is_away_is_said_and_waited_for(visit: Open, dashboard: Dashboard) -> None:
    dashboard.worker.submit()
    opened = visit("/")
    opened.expected = ["ERR_FAILED"]
    page = opened.page
    page.route(f"{dashboard.url}/", lambda route: route.abort())
    banner = page.get_by_text("The server does not answer")
    wait_until(lambda: look_again(page) and banner.is_visible(), "the banner")
    assert page.locator("tbody tr").count() == 1, "what was known stays"
    page.unroute(f"{dashboard.url}/")
    newer = dashboard.worker.submit()
    wait_until(lambda: look_again(page) and page.locator(f"#{newer}").count() == 1, "the new row")
    assert banner.is_hidden()


def test_it_fits_a_phone(visit: Open, dashboard: Dashboard) -> None:
    long = "a-label-that-is-much-longer-than-any-phone-is-wide-" * 3
    claim = dashboard.worker.start(labels={"k": long})
    dashboard.worker.epoch(claim, 1)
    dashboard.worker.log(claim, "x" * 500 + "\n")
    dashboard.worker.event(claim, "y" * 500)
    for path in ("/", f"/jobs/{claim.job_id}", "/models", "/jobs/" + "z" * 300):
        opened = visit(path, viewport={"width": 390, "height": 844})
        opened.expected = ["404"]
        opened.page.wait_for_load_state("networkidle" if path != f"/jobs/{claim.job_id}" else "load")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_it_works_without_scripts(visit: Open, dashboard: Dashboard) -> None:
    job = dashboard.worker.submit()
    page = visit("/", java_script_enabled=False).page
    page.locator(f"#{job} a.name").click()
    page.wait_for_url(f"**/jobs/{job}")
    assert page.get_by_role("heading", level=1).inner_text() == "lenet5_bn · adder · digits"
    assert page.locator("#actions a").first.is_visible()
    assert page.locator("#actions button").first.is_hidden()
