"""`python -m benchmarks.charts [--write]`: a job with a million points on its page, by the browser's own clock.

Chromium opens the page of a job with four metrics of 250,000 points each, all of which it draws. The first drawing is
the time from the start of the navigation to the frame in which a curve is there; the extremes follow it. Then a cursor
moves through the curves, with a step of zoom every half a second, and the frames are counted. With `--rival FILE`
(`uPlot.iife.min.js` of `npm pack uplot`) the same browser draws a million points that it has in memory already: by that
library and by ours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.rows import RESULTS, Row, table, write
from benchmarks.service.setup import DATABASES, Setup, api_alone, prepared
from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.repository import attempts, lifecycle, queue
from jobs.repository.queue import Offer
from jobs.spec import SPEC

NAMES: Final = ("train/loss", "train/accuracy", "lr", "images_per_second")
FILL: Final = 2_500  # steps of a transaction
DOCUMENT: Final = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}
LEASE_MS: Final = 3_600_000
VISITS: Final = 7
SECONDS: Final = 5  # of interaction
VERSIONS: Final = ("python", "sqlite", "adderworks", "fastapi", "sqlalchemy")
FLAGS: Final = ("--no-sandbox", "--disable-gpu")

WATCH: Final = """
const look = (now) => document.querySelector("path.curve") ? (window.drawn = now) : requestAnimationFrame(look);
requestAnimationFrame(look);
"""
EXTREMES: Final = """() => performance.getEntriesByType("resource").filter(({ name }) =>
  name.includes("points=") && !name.includes("thin=")).map((entry) => entry.responseEnd)[0]"""
FRAMES: Final = """([selector, seconds, keys]) => new Promise((done) => {
  const target = document.querySelector(selector);
  const { left, top, width, height } = target.getBoundingClientRect();
  const kind = keys ? PointerEvent : MouseEvent;
  const type = keys ? "pointermove" : "mousemove";
  const gaps = [];
  let before = 0, begin = 0, n = 0;
  const frame = (now) => {
    begin ||= now;
    if (before) gaps.push(now - before);
    before = now;
    if (now - begin > 1000 * seconds) return done(gaps);
    const clientX = left + width * (0.5 + 0.45 * Math.sin(n / 20));
    target.dispatchEvent(new kind(type, { bubbles: true, clientX, clientY: top + height / 2, pointerId: 1 }));
    if (++n % 30 === 0) {
      const zoomed = n % 60 === 0;
      if (keys) target.dispatchEvent(new KeyboardEvent("keydown", { key: zoomed ? "0" : "+", bubbles: true }));
      else window.rival.setScale("x", zoomed ? { min: 0, max: 1e6 } : { min: 2.5e5, max: 7.5e5 });
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""
OURS: Final = """async () => {
  const [{ Chart }, { View }] = await Promise.all([import("/static/chart.js"), import("/static/view.js")]);
  document.body.replaceChildren();
  const value = (i) => Math.sin(i / 1e4) + Math.random();
  const points = Array.from({ length: 1e6 }, (_, i) => ({ seq: i, step: i, epoch: 1, time: i, value: value(i) }));
  const begin = performance.now();
  const chart = new Chart(document.body, new View(), { title: "ours" });
  chart.set([{ name: "a", points, job: { perEpoch: 1e6, begin: 0 } }]);
  while (!document.querySelector("path.curve")) await new Promise(requestAnimationFrame);
  return performance.now() - begin;
}"""
RIVAL: Final = """async () => {
  document.body.replaceChildren();
  const value = (i) => Math.sin(i / 1e4) + Math.random();
  const column = (of) => Float64Array.from({ length: 1e6 }, (_, i) => of(i));
  const data = [column(Number), column(value)];
  const begin = performance.now();
  const options = { width: 560, height: 232, scales: { x: { time: false } }, series: [{}, { stroke: "#2563b8" }] };
  window.rival = new uPlot(options, data, document.body);
  await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - begin;
}"""


def measure(setup: Setup, steps: int, visits: int, rival: Path | None) -> Iterator[Row]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    for database in setup.databases:
        with api_alone(setup, database) as service, sync_playwright() as playwright:
            store = Database(service.database_url)
            job = long_job(store, steps)
            store.dispose()
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            load = os.getloadavg()
            about = {"database": database, "points": steps * len(NAMES), "chromium": browser.version}
            yield from _page(browser, f"{service.url}/jobs/{job}", visits, load, about)
            if rival is not None:
                yield from _in_memory(browser, service.url, rival, visits, about)
            browser.close()


def long_job(store: Database, steps: int) -> str:
    """A running job with that many points of each metric."""
    with store.write(DEFAULT) as session:
        lifecycle.submit(session, SPEC.validate_python(DOCUMENT))
    with store.write(SERVICE) as session:
        claim = queue.claim(session, Offer("bench"), LEASE_MS)
    assert claim is not None
    for first in range(1, steps + 1, FILL):
        points = [
            {"name": name, "step": step, "epoch": 1 + step // 1000, "value": step * 7919 % 1000 / 1000, "time": step}
            for step in range(first, min(first + FILL, steps + 1))
            for name in NAMES
        ]  # fmt: skip
        with store.write(DEFAULT) as session:
            attempts.add_metrics(session, attempts.lock(session, claim, LEASE_MS), points)
    return claim.job_id


def _page(
    browser: Any, url: str, visits: int, load: tuple[float, float, float], about: dict[str, Any]
) -> Iterator[Row]:
    drawn, whole, frames, slowest = [], [], [], []
    for _ in range(visits):
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.add_init_script(WATCH)
        page.goto(url)
        drawn.append(_awaited(page, "() => window.drawn") / 1000)
        whole.append(_awaited(page, EXTREMES) / 1000)
        gaps = page.evaluate(FRAMES, [".chart", SECONDS, True])
        frames.append(1000 * len(gaps) / sum(gaps))
        slowest.append(sorted(gaps)[int(0.95 * len(gaps))])
        page.close()
    name = f"a job's page, {about['points']} points"
    variant = str(about["database"])
    yield Row(name, f"{variant}, first drawing", "s", drawn, load, about)
    yield Row(name, f"{variant}, extremes are there", "s", whole, load, about)
    yield Row(name, f"{variant}, frames while it is read and zoomed", "1/s", frames, load, about)
    yield Row(name, f"{variant}, 95 % of frames come within", "ms", slowest, load, about)


def _awaited(page: Any, script: str) -> float:
    """What the script says once it says something. The page's policy forbids playwright's own way to wait for that."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (found := page.evaluate(script)) is not None:
            return float(found)
        page.wait_for_timeout(50)
    raise RuntimeError(f"waited a minute in vain for {script}")


def _in_memory(browser: Any, url: str, rival: Path, visits: int, about: dict[str, Any]) -> Iterator[Row]:
    load = os.getloadavg()
    for name, script, selector in (("ours", OURS, ".chart"), (rival.name, RIVAL, ".u-over")):
        times, frames = [], []
        for _ in range(visits):
            context = browser.new_context(bypass_csp=True, viewport={"width": 600, "height": 600})
            page = context.new_page()
            page.goto(f"{url}/models")
            page.add_script_tag(path=rival)
            times.append(page.evaluate(script))
            gaps = page.evaluate(FRAMES, [selector, SECONDS, name == "ours"])
            frames.append(1000 * len(gaps) / sum(gaps))
            context.close()
        yield Row("a million points in the browser's memory", f"{name}, drawing", "ms", times, load, about)
        yield Row("a million points in the browser's memory", f"{name}, frames", "1/s", frames, load, about)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description=__doc__)
    parser.add_argument("--write", action="store_true", help="append the rows to results/charts.jsonl")
    parser.add_argument(
        "--steps", type=int, default=250_000, help="points of each of the four metrics (default: 250000)"
    )
    parser.add_argument("--visits", type=int, default=VISITS, help=f"visits of the page (default: {VISITS})")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=["sqlite"])
    parser.add_argument("--rival", type=Path, help="uPlot.iife.min.js, to be compared")
    arguments = parser.parse_args()
    with prepared(arguments.databases, None, quick=False) as setup:
        rows = list(measure(setup, arguments.steps, arguments.visits, arguments.rival))
    if arguments.write:
        write(rows, RESULTS / "charts.jsonl", VERSIONS)
    print(table(rows))


if __name__ == "__main__":
    main()
