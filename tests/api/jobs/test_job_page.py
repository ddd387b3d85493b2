"""A job's page in a browser: curves that grow, a status that changes, buttons that act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until

Open = Callable[..., Visit]


def curve(page: Any, name: str) -> Any:
    return page.locator(f'path.curve[data-series="{name}"]')


def corners(page: Any, name: str) -> int:
    """Points on a curve."""
    path = curve(page, name)
    d = path.get_attribute("d") if path.count() else ""
    return sum(d.count(letter) for letter in "ML")


def test_curves_grow_as_points_come(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    claim = worker.start()
    worker.epoch(claim, 1)
    page = visit(f"/jobs/{claim.job_id}").page
    curve(page, "train/loss").wait_for()
    assert corners(page, "train/loss") == 10
    worker.epoch(claim, 2)
    wait_until(lambda: corners(page, "train/loss") == 20, "ten more points")
    worker.epoch(claim, 3)
    wait_until(lambda: corners(page, "train/loss") == 30, "ten more points")
    assert corners(page, "val/accuracy") == 3
    page.locator("#now", has_text="30 %").wait_for()
    page.locator("#log", has_text="epoch 3 of 10 is done").wait_for()
    page.get_by_label("Other metrics to draw").select_option("grad_norm/")
    curve(page, "grad_norm/conv2").wait_for()
    assert corners(page, "grad_norm/conv1") == 30
    worker.epoch(claim, 4)
    wait_until(lambda: corners(page, "grad_norm/conv2") == 40, "points of a metric chosen later")


def test_a_stream_that_repeats_itself_draws_nothing_twice(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.epoch(claim, 1)
    page = visit("/").page

    def from_the_start(route: Any) -> None:
        headers = {k: v for k, v in route.request.headers.items() if k != "last-event-id"}
        route.continue_(headers=headers)

    page.route("**/stream", from_the_start)
    page.goto(f"{dashboard.url}/jobs/{claim.job_id}")
    curve(page, "train/loss").wait_for()
    dashboard.worker.epoch(claim, 2)
    page.locator(".panel").first.get_by_text("step 20").wait_for()
    assert corners(page, "train/loss") == 20


def test_a_curve_is_read_with_pointer_and_keys(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    for epoch in (1, 2, 3):
        dashboard.worker.epoch(claim, epoch)
    page = visit(f"/jobs/{claim.job_id}").page
    curve(page, "train/loss").wait_for()
    loss = page.locator(".chart").first
    loss.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    wait_until(lambda: "step 1:" in loss.get_attribute("aria-label").lower(), "the first step to be read")
    assert "train/loss 2.000" in loss.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    wait_until(lambda: "train/loss 1.000" in loss.get_attribute("aria-label"), "the second step to be read")
    assert page.locator(".chart .cursor").count() >= 2, "the panels share the cursor"
    loss.hover(position={"x": 200, "y": 60})
    page.locator(".panel").first.locator(".mark").wait_for()


def test_gaps_single_points_and_constants_are_drawn(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.points(claim, "train/loss", [1.0, 0.9, None, 0.7, 0.6, None, 0.5])
    dashboard.worker.points(claim, "lr", [0.1] * 20)
    dashboard.worker.points(claim, "val/accuracy", [0.5])
    page = visit(f"/jobs/{claim.job_id}").page
    curve(page, "train/loss").wait_for()
    assert curve(page, "train/loss").get_attribute("d").count("M") == 2
    curve(page, "lr").wait_for(state="attached")  # a flat line has no height
    page.locator('path.points[data-series="val/accuracy"]').wait_for(state="attached")
    assert "NaN" not in page.locator("#curves").inner_html()


def test_many_points_are_thinned_and_keep_their_spikes(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    values: list[float | None] = [1.0 + (n % 7) / 100 for n in range(12_000)]
    values[7777] = 9.0
    dashboard.worker.points(claim, "train/loss", values)
    page = visit(f"/jobs/{claim.job_id}").page
    page.locator(".panel").first.get_by_text("step 12,000").wait_for()
    assert 500 < corners(page, "train/loss") <= 1001

    def highest() -> float:
        return min(float(at.split()[1]) for at in curve(page, "train/loss").get_attribute("d")[1:].split("L"))

    wait_until(lambda: highest() < 30, "the spike near the top: a sample is there first, which may miss it")


def test_the_status_changes_live_and_the_result_appears(visit: Open, dashboard: Dashboard) -> None:
    job = dashboard.worker.submit()
    page = visit(f"/jobs/{job}").page
    page.locator("#status .badge.queued").wait_for()
    claim = dashboard.worker.claim()
    page.locator("#status .badge.running").wait_for()
    dashboard.worker.epoch(claim, 10)
    dashboard.worker.succeed(claim, seconds=12.5)
    page.locator("#status .badge.succeeded").wait_for()
    page.locator("#result", has_text="98.61 %").wait_for()
    assert page.title().startswith("succeeded · ")
    with page.expect_download() as download:
        page.get_by_role("link", name="model.safetensors").click()
    assert download.value.path().read_bytes() == b"weights"


def test_cancel_asks_and_then_cancels(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    page = visit(f"/jobs/{claim.job_id}").page
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep it").click()
    assert dashboard.worker.status(claim.job_id) == "running"
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel it").click()
    page.locator("#status .badge.cancelling").wait_for()
    dashboard.worker.end_cancelled(claim)
    page.locator("#status .badge.cancelled").wait_for()
    page.get_by_role("button", name="Delete").wait_for()


def test_pause_resume_retry_and_delete(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    page = visit(f"/jobs/{claim.job_id}").page
    page.get_by_role("button", name="Pause").click()
    page.locator("#status .badge.pausing").wait_for()
    dashboard.worker.end_paused(claim)
    page.get_by_role("button", name="Resume").click()
    page.locator("#status .badge.queued").wait_for()
    claim = dashboard.worker.claim()
    dashboard.worker.fail(claim, "out_of_memory", "It took 9 GiB.", "Killed\n")
    page.get_by_role("heading", name="Out of memory").wait_for()
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("retry of").wait_for()
    assert claim.job_id not in page.url
    page.get_by_role("link", name=f"…{claim.job_id[-8:]}").click()
    page.wait_for_load_state("networkidle")  # else the curves that it still asks for are gone with the job
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url(f"{dashboard.url}/")
    assert page.locator(f"#{claim.job_id}").count() == 0


def test_a_training_that_diverged_shows_its_curves_and_its_teacher(visit: Open, dashboard: Dashboard) -> None:
    teacher = dashboard.worker.publish(dashboard.worker.start())
    claim = dashboard.worker.start(distill={"teacher": teacher})
    dashboard.worker.epoch(claim, 1)
    dashboard.worker.fail(claim, "diverged", "The loss became inf by step 11.", "epoch 1 of 10 is done\n", "curves.png")
    page = visit(f"/jobs/{claim.job_id}").page
    page.locator("#failure", has_text="The training diverged").wait_for()
    curve(page, "train/loss").wait_for()
    assert corners(page, "train/loss") == 10
    assert page.locator("#result a", has_text="curves.png").get_attribute("href") == (
        f"/v1/jobs/{claim.job_id}/artifacts/curves.png"
    )
    assert page.locator("#facts a", has_text=f"…{teacher[-8:]}").get_attribute("href") == f"/models/{teacher}"


def test_a_refusal_shows_the_problems_text(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    opened = visit(f"/jobs/{claim.job_id}")
    opened.expected = ["409"]
    page = opened.page
    button = page.get_by_role("button", name="Pause")
    button.wait_for()
    # A page that is a moment behind: the job ends after the button was drawn.
    page.route(f"**/jobs/{claim.job_id}", lambda route: route.abort())
    opened.expected += ["ERR_FAILED"]
    dashboard.worker.succeed(claim)
    button.click()
    page.get_by_role("alert").filter(has_text="only a running job can be paused").wait_for()


def test_hostile_strings_are_inert(visit: Open, dashboard: Dashboard) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    claim = dashboard.worker.start(labels={evil: evil})
    dashboard.worker.points(claim, f"grad_norm/{evil}", [1.0, 2.0])
    dashboard.worker.points(claim, "grad_norm/b", [1.0, 2.0])
    dashboard.worker.log(claim, evil + "\n")
    page = visit(f"/jobs/{claim.job_id}").page
    dashboard.worker.event(claim, evil)
    page.locator("#events", has_text=evil).wait_for()
    page.get_by_label("Other metrics to draw").select_option("grad_norm/")
    page.get_by_role("button", name=evil).wait_for()
    assert page.locator("#log").inner_text().strip() == evil
    assert page.locator("main img, main script").count() == 0
    visit("/").page.get_by_text(evil).first.wait_for()


def test_an_open_fold_and_a_scrolled_log_survive_updates(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.log(claim, "".join(f"line {n}\n" for n in range(200)))
    page = visit(f"/jobs/{claim.job_id}").page
    bottom = "e => e.scrollTop + e.clientHeight >= e.scrollHeight - 8"
    log = page.locator("#log")
    wait_until(lambda: log.evaluate(bottom), "the log to begin at its end")
    page.get_by_text("Spec, every default").click()
    dashboard.worker.log(claim, "one more\n")
    log.filter(has_text="one more").wait_for()
    assert log.evaluate(bottom)
    log.evaluate("e => { e.scrollTop = 40 }")
    dashboard.worker.log(claim, "and another\n")
    log.filter(has_text="and another").wait_for()
    assert log.evaluate("e => e.scrollTop") == 40
    assert page.locator("#spec").is_visible()


def test_a_log_is_searched(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.log(claim, "".join(f"step {step} loss 0.5\n" for step in range(1, 200)) + "A Warning at step 7\n")
    page = visit(f"/jobs/{claim.job_id}").page
    field = page.get_by_label("Search", exact=True)
    field.fill("warning")
    page.locator("#log-found", has_text="1 found").wait_for()
    field.fill("step 7")
    page.locator("#log-found", has_text="12 found").wait_for()
    field.press("Enter")
    page.locator("#log-found", has_text="1 of 12 found").wait_for()
    assert page.evaluate("document.getElementById('log').scrollTop") < 200, "the log shows the first place"
    field.press("Shift+Enter")
    page.locator("#log-found", has_text="12 of 12 found").wait_for()
    dashboard.worker.log(claim, "step 7 again\n")
    page.locator("#log-found", has_text="of 13 found").wait_for()
