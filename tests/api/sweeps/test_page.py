"""Sweeps, and jobs side by side, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.access.scope import DEFAULT
from jobs.repository.attempts import Claim
from jobs.scheduling import Rules
from jobs.sweeps import planning, repository
from jobs.sweeps.driver import Driver
from jobs.sweeps.spec import SweepSpec
from tests.api.dashboard import Dashboard, Visit
from tests.api.jobs.test_job_page import corners, curve
from tests.support.servers import wait_until
from tests.support.specs import train_body

Open = Callable[..., Visit]


def create(dashboard: Dashboard, **changes: Any) -> str:
    spec = SweepSpec.model_validate({"base": train_body(), **changes})
    found = [parameters for parameters, _ in planning.plan(spec, 500)] if spec.grid else []
    with dashboard.worker.database.write(DEFAULT) as session:
        sweep_id = repository.create(session, spec, found).id
    move(dashboard)
    return sweep_id


def move(dashboard: Dashboard) -> None:
    Driver(dashboard.worker.database, Rules()).round()


def run(dashboard: Dashboard, value: float) -> Claim:
    """The next job, from its claim to its end."""
    claim = dashboard.worker.claim()
    dashboard.worker.epoch(claim, 1)
    dashboard.worker.epoch(claim, 2)
    dashboard.worker.succeed(claim, **{"val/accuracy": value})
    return claim


def column(page: Any, table: str, number: int) -> list[str]:
    return [cell.inner_text() for cell in page.locator(f"#{table} tbody td:nth-child({number})").all()]


def test_a_sweep_grows_on_its_page_and_sorts(visit: Open, dashboard: Dashboard) -> None:
    sweep = create(dashboard, name="eta", grid={"optimizer.eta": [1, 0.5], "seed": [0, 1]})
    page = visit("/sweeps").page
    page.get_by_role("link", name="eta").click()
    page.get_by_role("heading", name="eta").wait_for()
    page.locator("#figure", has_text="no trial has a value yet").wait_for()
    for value in (0.91, 0.93, 0.97, 0.95):
        run(dashboard, value)
    move(dashboard)
    page.locator("#now .badge.succeeded").wait_for()
    assert page.locator("#figure circle").count() == 2, "a mark for each eta, over the seeds"
    assert page.locator("#combined tr.best").inner_text().split("\t")[-1] == "96.00 ± 1.41"
    assert page.locator("#trial-2.best").count() == 1
    by_value = page.locator("#trials").get_by_role("button", name="val/accuracy")
    by_value.click()
    assert column(page, "trials", 6) == ["97.00 %", "95.00 %", "93.00 %", "91.00 %"]
    by_value.click()
    assert column(page, "trials", 2) == ["0", "1", "3", "2"]
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # a refresh leaves the order as it is
    page.wait_for_timeout(300)
    assert column(page, "trials", 2) == ["0", "1", "3", "2"]
    assert page.locator(f"a[href*='sweep%3A{sweep}']").count() == 1


def test_a_sweep_is_cancelled_on_its_page(visit: Open, dashboard: Dashboard) -> None:
    sweep = create(dashboard, search={"optimizer.lr": {"type": "float", "low": 0.01, "high": 1, "log": True}}, trials=5)
    page = visit(f"/sweeps/{sweep}").page
    page.locator("#trial-1 .badge.queued").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel it").click()
    page.locator("#now .badge.cancelled").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_role("heading", name="Vary a spec").wait_for()


def test_jobs_chosen_in_the_list_are_set_side_by_side(visit: Open, dashboard: Dashboard) -> None:
    first, second = dashboard.worker.submit(seed=1), dashboard.worker.submit(seed=2, model={"method": "conv"})
    dashboard.worker.submit(seed=3)
    run(dashboard, 0.9)
    running = dashboard.worker.claim()
    dashboard.worker.epoch(running, 1)
    page = visit("/").page
    button = page.get_by_role("button", name="Compare")
    page.locator(f"#{first} input").check()
    assert button.is_disabled(), "one alone is not compared"
    page.locator(f"#{second} input").check()
    page.get_by_role("button", name="Compare 2").click()
    page.get_by_role("heading", name="2 jobs").wait_for()
    names = [link.inner_text() for link in page.locator("#sides thead a").all()]
    assert names == ["method conv", "method adder"], "newest first, by what tells them apart"
    differing = page.locator("tr.differs")
    assert differing.filter(has_text="model.method").locator("td").all_inner_texts() == ["conv", "adder"]
    assert differing.filter(has_text="dataset.name").count() == 0
    curve(page, names[0]).first.wait_for()
    loss = page.locator(".panel", has=page.get_by_text("train/loss", exact=True))
    wait_until(lambda: loss.locator("path.curve").count() == 2, "a curve of each job")
    drawn = loss.locator(f'path.curve[data-series="{names[0]}"]')
    before = drawn.get_attribute("d")
    dashboard.worker.epoch(running, 2)
    wait_until(lambda: drawn.get_attribute("d") != before, "the running job's curve to grow")
    assert corners(loss, names[1]) == 20


def test_a_sweep_leads_to_a_comparison_of_its_trials(visit: Open, dashboard: Dashboard) -> None:
    sweep = create(dashboard, grid={"optimizer.eta": [1, 0.5, 0.1]})
    for value in (0.9, 0.95, 0.92):
        run(dashboard, value)
    move(dashboard)
    page = visit(f"/sweeps/{sweep}", viewport={"width": 390, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("Compare trial 0").check()
    page.get_by_label("Compare trial 2").check()
    page.get_by_role("button", name="Compare 2").click()
    page.get_by_role("heading", name="2 jobs").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wide tables scroll by themselves"
    (differing,) = page.locator("tr.differs").all()
    assert differing.locator("code").inner_text() == "optimizer.eta"
    assert differing.locator("td").all_inner_texts() == ["1", "0.1"]


@pytest.mark.parametrize("path", ["/compare", "/compare?job=job_x", "/sweeps/sweep_none", "/compare?job=job_x&job=y"])
def test_what_is_not_there_is_said(visit: Open, path: str) -> None:
    opened = visit(path)
    opened.expected += ["400", "404"]
    opened.page.get_by_role("link", name="Jobs").first.wait_for()
    assert opened.page.locator(".empty").count() == 1


def test_a_sweep_shows_which_field_matters(visit: Open, dashboard: Dashboard) -> None:
    sweep = create(dashboard, grid={"optimizer.eta": [1, 0.1], "seed": [0, 1, 2]})
    for value in (0.97, 0.96, 0.97, 0.91, 0.9, 0.91):
        run(dashboard, value)
    move(dashboard)
    page = visit(f"/sweeps/{sweep}").page
    rows = page.locator(".matters tr")
    assert rows.first.locator("code").inner_text() == "optimizer.eta"
    assert rows.first.locator("td").last.inner_text() == "97 %"
    assert rows.last.locator("td").last.inner_text() == "0 %", "the seed explains no more than chance would"
    figure = page.locator(".parallel")
    assert figure.locator("path.trial").count() == 6
    assert figure.locator("text.axis").all_text_contents() == ["eta", "seed", "val/accuracy"]
    assert "97.00 % with optimizer.eta 1" in figure.locator("path.best title").text_content()
