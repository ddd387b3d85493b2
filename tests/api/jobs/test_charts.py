"""Curves in a browser: zoom, reset, axes, smoothing, what x is, seeds as a band, tables and files of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.dashboard import Dashboard, Visit
from tests.api.jobs.test_job_page import corners, curve
from tests.support.servers import wait_until

Open = Callable[..., Visit]


@pytest.fixture
def job(dashboard: Dashboard) -> str:
    """Four epochs of a training."""
    claim = dashboard.worker.start()
    for epoch in (1, 2, 3, 4):
        dashboard.worker.epoch(claim, epoch)
    dashboard.worker.succeed(claim)
    return claim.job_id


def panel(page: Any, title: str) -> Any:
    return page.locator(".panel", has=page.locator("figcaption b", has_text=title))


def labels(chart: Any) -> list[str]:
    found: list[str] = chart.locator(".chart text:not(.axis)").all_text_contents()
    return found


def drag(page: Any, chart: Any, begin: float, end: float) -> None:
    """Drags with the mouse from one share of the chart's width to another."""
    box = chart.locator(".chart").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + begin * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (begin + end) / 2 * box["width"], y, steps=3)
    chart.locator(".drag").wait_for(state="attached")  # drawn in the next frame
    page.mouse.move(box["x"] + end * box["width"], y, steps=3)
    page.mouse.up()


def saved(page: Any, button: Any) -> bytes:
    with page.expect_download() as download:
        button.click()
    content: bytes = download.value.path().read_bytes()
    return content


def test_a_drag_zooms_all_panels_and_a_double_click_shows_all(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}").page
    curve(page, "train/loss").wait_for()
    loss = panel(page, "Loss")
    assert "40" in labels(loss)
    assert loss.locator(".axis").all_text_contents() == ["step", "loss"]
    assert loss.get_by_role("button", name="Reset zoom").is_hidden()
    drag(page, loss, 0.5, 0.8)
    loss.get_by_role("button", name="Reset zoom").wait_for()
    assert corners(page, "train/loss") < 20
    assert "40" not in labels(panel(page, "Learning rate")), "x is the same in all panels"
    texts = saved(page, loss.get_by_role("button", name="CSV")).decode()
    rows = [row for row in csv.DictReader(io.StringIO(texts)) if row["curve"] == "train/loss"]
    steps = [int(row["step"]) for row in rows]
    assert 8 <= len(steps) <= 16
    assert 15 < steps[0] < steps[-1] < 36, "of what is shown"
    assert float(rows[0]["value"]) == 2.0 / steps[0]
    loss.locator(".chart").dblclick()
    wait_until(lambda: corners(page, "train/loss") == 40, "all of the curve")
    drag(page, loss, 0.5, 0.8)
    loss.get_by_role("button", name="Reset zoom").click()
    wait_until(lambda: corners(page, "train/loss") == 40, "all of the curve")


def test_keys_zoom_and_reset(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}").page
    curve(page, "train/loss").wait_for()
    panel(page, "Loss").locator(".chart").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    page.keyboard.press("+")
    page.keyboard.press("+")
    wait_until(lambda: corners(page, "train/loss") < 14, "a quarter of the steps from the cursor on")
    assert "step 1 " in panel(page, "Loss").locator(".at").inner_text()
    page.keyboard.press("-")
    wait_until(lambda: 14 < corners(page, "train/loss") < 30, "half of them")
    page.keyboard.press("0")
    wait_until(lambda: corners(page, "train/loss") == 40, "all of them")


def test_two_fingers_zoom(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}", has_touch=True).page
    curve(page, "train/loss").wait_for()
    chart = panel(page, "Loss").locator(".chart")
    chart.evaluate("""(chart) => {
      const { left, top, width } = chart.getBoundingClientRect();
      const send = (type, pointerId, share) => chart.dispatchEvent(new PointerEvent(type, {
        pointerId, pointerType: "touch", bubbles: true, clientX: left + share * width, clientY: top + 50 }));
      send("pointerdown", 1, 0.5);
      send("pointerdown", 2, 0.6);
      send("pointermove", 1, 0.4);
      send("pointermove", 2, 0.7);
      send("pointerup", 1, 0.4);
      send("pointerup", 2, 0.7);
    }""")
    wait_until(lambda: corners(page, "train/loss") < 25, "what the fingers spread")
    panel(page, "Loss").get_by_role("button", name="Reset zoom").click()
    wait_until(lambda: corners(page, "train/loss") == 40, "all of the curve")


def test_logarithmic_axes(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}").page
    curve(page, "train/loss").wait_for()
    loss = panel(page, "Loss")
    straight = curve(page, "train/loss").get_attribute("d")
    loss.get_by_role("button", name="log").click()
    wait_until(lambda: curve(page, "train/loss").get_attribute("d") != straight, "another axis")
    assert {"0.1", "1"} <= set(labels(loss))
    assert "loss (log)" in loss.locator(".axis").all_text_contents()
    page.get_by_label("log x").check()
    wait_until(lambda: {"1", "10"} <= set(labels(loss)) and "30" not in labels(loss), "powers of ten along x")
    xs = [float(at.split()[0]) for at in curve(page, "train/loss").get_attribute("d")[1:].split("L")]
    assert xs[1] - xs[0] == pytest.approx(xs[3] - xs[1], abs=0.3), "1, 2 and 4"


def test_good_accuracies_lie_apart(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.points(claim, "val/accuracy", [0.1, 0.8, 0.94, 0.96])
    page = visit(f"/jobs/{claim.job_id}").page
    curve(page, "val/accuracy").wait_for()
    accuracy = panel(page, "Accuracy")

    def heights() -> list[float]:
        return [float(at.split()[1]) for at in curve(page, "val/accuracy").get_attribute("d")[1:].split("L")]

    apart = heights()
    assert apart[2] - apart[3] > 15, "94 and 96 %, in pixels"
    assert "accuracy, % (errors, log)" in accuracy.locator(".axis").all_text_contents()
    accuracy.get_by_role("button", name="log").click()
    wait_until(lambda: heights() != apart, "the linear axis")
    assert heights()[2] - heights()[3] < 6


def test_smoothing_draws_the_average_over_the_raw_curve(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.points(claim, "train/loss", [1.0 + n % 2 for n in range(200)])
    page = visit(f"/jobs/{claim.job_id}").page
    curve(page, "train/loss").wait_for()
    assert page.locator("path.raw").count() == 0
    slider = page.get_by_label("Smoothing")
    slider.focus()
    page.keyboard.press("End")
    page.locator('path.raw[data-series="train/loss"]').wait_for()
    said = panel(page, "Loss").locator(".legend .value").first
    wait_until(lambda: abs(float(said.inner_text()) - 1.5) < 0.05, "the average to be read")
    page.keyboard.press("Home")
    wait_until(lambda: page.locator("path.raw").count() == 0, "the raw curve alone")
    assert said.inner_text() == "2.000"


def test_x_is_a_step_an_epoch_or_the_time(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}").page
    curve(page, "train/loss").wait_for()
    loss = panel(page, "Loss")
    page.get_by_label("x axis").select_option("epoch")
    wait_until(lambda: loss.locator(".axis").first.text_content() == "epoch", "epochs along x")
    assert loss.locator(".at").inner_text() == "epoch 4.00"
    assert {"1", "2", "3", "4"} <= set(labels(loss))
    page.get_by_label("x axis").select_option("time")
    wait_until(lambda: loss.locator(".axis").first.text_content() == "time, seconds", "seconds along x")


def test_a_panel_has_a_table_and_a_picture(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}", color_scheme="dark").page
    curve(page, "train/loss").wait_for()
    loss = panel(page, "Loss")
    loss.get_by_text("Table", exact=True).click()
    row = loss.get_by_role("region", name="Loss, as a table").locator("tbody tr").first
    assert row.locator("th, td").all_inner_texts() == [
        "train/loss", "40", "2.000", "0.05000", "0.05000 step 40 · epoch 4", "2.000 step 1 · epoch 1",
    ]  # fmt: skip
    picture = saved(page, loss.get_by_role("button", name="PNG"))
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    assert width > 900
    assert height > 500
    dark = page.evaluate(
        """async (bytes) => {
          const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
          const canvas = new OffscreenCanvas(image.width, image.height);
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const pixels = context.getImageData(0, 0, image.width, image.height).data;
          const colours = new Set();
          for (let i = 0; i < pixels.length; i += 4) colours.add(pixels.slice(i, i + 3).join());
          return [pixels[0], colours.size];
        }""",
        list(picture),
    )
    assert dark[0] < 60, "the page's own colours"
    assert dark[1] > 20, "and something is drawn on them"


def test_a_long_curve_is_drawn_at_once_and_keeps_its_spikes(visit: Open, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start()
    values: list[float | None] = [1.0 + (n % 7) / 100 for n in range(12_000)]
    values[7777] = 9.0
    dashboard.worker.points(claim, "train/loss", values)
    page = visit("/").page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page.url + f"jobs/{claim.job_id}")
    loss = panel(page, "Loss")
    loss.get_by_text("step 12,000").wait_for()
    loss.get_by_text("Table", exact=True).click()
    highest = loss.locator("tbody tr").first.locator("td").last
    wait_until(lambda: "9.000" in highest.inner_text(), "the extremes")
    assert "step 7,778" in highest.inner_text()
    thinned = [url for url in asked if "points=" in url and "system" not in url]
    assert ["thin=sample" in url for url in thinned] == [True, False], "a sample first, then the extremes"
    with page.expect_request(lambda request: "thin=mean" in request.url):  # they can be smoothed
        page.get_by_label("Smoothing").fill("0.9")
    with page.expect_request(lambda request: "from_step=" in request.url):  # the points of the zoom
        drag(page, loss, 0.6, 0.7)
    page.get_by_label("Smoothing").fill("0")
    wait_until(lambda: int(loss.locator("tbody td").first.inner_text().replace(",", "")) > 600, "its own detail")


def test_seeds_become_a_band(visit: Open, dashboard: Dashboard) -> None:
    ids = []
    for seed, eta in ((0, 0.1), (1, 0.1), (0, 0.5)):
        claim = dashboard.worker.start(seed=seed, optimizer={"eta": eta})
        dashboard.worker.points(claim, "train/loss", [eta + seed + 1 / n for n in range(1, 11)])
        dashboard.worker.succeed(claim)
        ids.append(claim.job_id)
    page = visit("/compare?" + "&".join(f"job={id}" for id in ids)).page
    loss = panel(page, "train/loss")
    wait_until(lambda: loss.locator("path.curve").count() == 3, "a curve of each job")
    page.get_by_label("seeds as mean").check()
    loss.locator("path.band").wait_for()
    names = [button.get_attribute("title") for button in loss.locator(".legend button").all()]
    assert names == ["Show or hide eta 0.1, 2 seeds", "Show or hide eta 0.5, seed 0"]
    read = loss.locator(".legend .value").first.inner_text()
    assert read == "0.7000 ± 0.7071", "the mean of 0.2 and 1.2 at the last step"
    rows = list(csv.DictReader(io.StringIO(saved(page, loss.get_by_role("button", name="CSV")).decode())))
    assert float(rows[9]["value"]) == pytest.approx(0.7)
    assert float(rows[9]["low"]) == pytest.approx(0.7 - 0.5**0.5)
    page.get_by_label("seeds as mean").uncheck()
    wait_until(lambda: loss.locator("path.curve").count() == 3, "a curve of each job")


def test_a_view_stands_in_the_address(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}").page
    page.locator("#curves path.curve").first.wait_for()
    page.select_option("#x-mode", "epoch")
    page.check("#log-x")
    page.fill("#smoothing", "0.6")
    loss = page.locator("#curves .panel").first
    log = loss.get_by_role("button", name="log")
    before = log.get_attribute("aria-pressed")
    log.click()
    wait_until(
        lambda: log.get_attribute("aria-pressed") != before, "the other axis, which is drawn with the next frame"
    )
    chosen = log.get_attribute("aria-pressed")
    loss.locator("svg").focus()
    page.keyboard.press("+")
    page.wait_for_url("**zoom=*")
    address = page.url
    for part in ("x=epoch", "log_x=1", "smooth=0.6", "y=Loss%3A", "zoom="):
        assert part in address, part
    other = visit(address.partition("//")[2].partition("/")[2].join(("/", ""))).page
    other.locator("#curves path.raw").first.wait_for()
    assert other.input_value("#x-mode") == "epoch"
    assert other.is_checked("#log-x")
    assert other.input_value("#smoothing") == "0.6"
    assert other.locator("output").inner_text() == "0.60"
    first = other.locator("#curves .panel").first
    assert first.get_by_role("button", name="log").get_attribute("aria-pressed") == chosen
    assert first.get_by_role("button", name="Reset zoom").is_visible()
    same = "document.querySelector('#curves svg').getAttribute('aria-label')"
    drawn = (
        "[...document.querySelectorAll('#curves .panel:first-child svg text')].map((text) => text.textContent).join()"
    )
    wait_until(lambda: other.evaluate(drawn) == page.evaluate(drawn), "the same axes")
    assert other.evaluate(same) == page.evaluate(same)
    first.get_by_role("button", name="Reset zoom").click()
    other.wait_for_url(lambda url: "zoom=" not in url)
    other.select_option("#x-mode", "step")
    other.wait_for_url(lambda url: "x=epoch" not in url)


def test_an_address_that_is_no_view_is_passed_over(visit: Open, job: str) -> None:
    page = visit(f"/jobs/{job}?x=parsec&smooth=7&zoom=9:1&y=Loss&y=Loss:cubic").page
    page.locator("#curves path.curve").first.wait_for()
    assert page.input_value("#x-mode") == "step"
    assert page.input_value("#smoothing") == "0"
    assert page.locator("#curves").get_by_role("button", name="Reset zoom").first.is_hidden()
