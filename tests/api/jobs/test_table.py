"""The table of jobs: columns of the reader's choice, groups, CSV, several jobs at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import httpx2

from tests.api.attempt import Worker
from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until
from tests.support.specs import train_body

Open = Callable[..., Visit]
VIEW = "col=spec.optimizer.eta&col=label.study&col=result.val/accuracy"


def three_jobs(dashboard: Dashboard) -> list[str]:
    """Two seeds of one study that succeeded, and one job without a label."""
    worker = dashboard.worker
    found = []
    for seed, reached in enumerate((0.94, 0.96)):
        claim = worker.start(seed=seed, optimizer={"eta": 0.2}, labels={"study": "eta"})
        worker.succeed(claim, **{"val/accuracy": reached})
        found.append(claim.job_id)
    return [*found, worker.submit()]


def test_columns_of_specs_labels_and_results(visit: Open, dashboard: Dashboard) -> None:
    first, second, waits = three_jobs(dashboard)
    page = visit("/").page
    page.click("summary:has-text('Columns')")
    page.fill("[name=col]:not([type=hidden])", "spec.optimizer.eta")
    page.click("button:text-is('Show')")
    page.wait_for_url("**col=spec.optimizer.eta*")
    assert page.inner_text(f"#{first} .c-more") == "0.2"
    page.goto(f"{dashboard.url}/?{VIEW}")
    assert page.locator(f"#{second} .c-more").all_inner_texts() == ["0.2", "eta", "96.00 %"]
    assert page.locator(f"#{waits} .c-more").all_inner_texts() == ["0.1", "–", "–"]
    page.click("thead a:text-is('val/accuracy')")
    page.wait_for_url("**sort=result*")
    assert [row.get_attribute("id") for row in page.locator("tbody tr").all()] == [second, first, waits]
    assert "col=label.study" in page.url
    page.click(".chip:has-text('label.study')")
    page.wait_for_url(lambda url: "label.study" not in url)


def test_groups_have_mean_and_spread(visit: Open, dashboard: Dashboard) -> None:
    three_jobs(dashboard)
    page = visit("/?group=study&col=spec.optimizer.eta").page
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator("table.groups tbody tr").all()]
    assert rows == [
        ["without this label", "1", "0", "–", "0.1"],
        ["eta", "2", "2", "95.00 % ± 1.41 % (2)", "0.2"],
    ]
    page.click("table.groups a:text-is('eta')")
    page.wait_for_url("**label=study*")
    assert page.locator("tbody tr").count() == 2


def test_a_view_is_a_table_of_values(lite_api: httpx2.Client, lite_worker: Worker) -> None:
    ids = []
    for n in range(130):
        labels = {"study": "=1+1"} if n == 0 else {"n": str(n)}
        ids.append(lite_api.post("/v1/jobs", json=train_body(labels=labels)).raise_for_status().json()["id"])
    answer = lite_api.get(f"/jobs.csv?{VIEW}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == ids[::-1]
    assert rows[-1]["label.study"] == "'=1+1", "no spreadsheet computes it"
    assert (rows[0]["spec.optimizer.eta"], rows[0]["result.val/accuracy"]) == ("0.1", "")
    assert lite_api.get("/jobs.csv?label=n:7").text.count("\n") == 2


def test_a_bad_column_is_told(lite_api: httpx2.Client) -> None:
    answer = lite_api.get("/?col=eta")
    assert answer.status_code == 400
    assert "spec.FIELD, label.NAME or result.NAME" in answer.text
    assert lite_api.get("/?" + "&".join(f"col=label.{n}" for n in range(21))).status_code == 400


def test_several_jobs_are_labelled_cancelled_and_deleted(visit: Open, dashboard: Dashboard) -> None:
    ids = [dashboard.worker.submit() for _ in range(3)]
    opened = visit("/")
    opened.expected = ["409"]
    page = opened.page
    assert page.locator("#bulk").is_hidden()
    for job in ids[:2]:
        page.check(f"#{job} input[name=job]")
    page.fill("#bulk-label", "study:eta")
    page.click("#bulk button:text-is('Label')")
    for job in ids[:2]:
        page.locator(f"#{job} .chip:has-text('study:eta')").wait_for()
    assert page.locator(f"#{ids[2]} .chip").count() == 0
    for job in ids:
        page.check(f"#{job} input[name=job]")
    page.click("#bulk button:text-is('Delete')")
    page.click("#confirm-yes")
    page.locator("#problem:has-text('Refused for 3 of 3')").wait_for()
    page.click("#bulk button:text-is('Cancel')")
    page.click("#confirm-yes")
    wait_until(lambda: all(dashboard.worker.status(job) == "cancelled" for job in ids), "the jobs to be cancelled")
    for job in ids:
        page.locator(f"#{job} .badge.cancelled").wait_for()
        page.check(f"#{job} input[name=job]")
    page.click("#bulk button:text-is('Delete')")
    page.click("#confirm-yes")
    page.get_by_role("heading", name="Train a network that adds").wait_for()


def test_a_star_is_given_in_the_list(visit: Open, dashboard: Dashboard) -> None:
    job = dashboard.worker.submit()
    page = visit("/").page
    page.click(f"#{job} button.star")
    page.locator(f"#{job} button.star[aria-pressed=true]").wait_for()


def test_every_column_sorts_by_its_head(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    ids = []
    for eta, study in ((0.1, "b"), (0.3, "a"), (0.2, "c")):
        claim = worker.start(optimizer={"eta": eta}, labels={"study": study})
        worker.succeed(claim, counts={"energy_joules": eta / 1e6})
        ids.append(claim.job_id)
    opened = visit("/?col=spec.optimizer.eta&col=label.study&col=result.counts.energy_joules&col=spec.model.layers")
    page = opened.page

    def rows() -> list[str]:
        return [str(row.get_attribute("id")) for row in page.locator("tbody tr").all()]

    heads = page.locator("table.jobs thead th")
    assert heads.count() == page.locator("table.jobs thead th[aria-sort] a").count() == 10
    assert rows() == ids[::-1]
    page.locator("thead a:text-is('optimizer.eta')").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**sort=spec.optimizer.eta*")
    assert rows() == [ids[1], ids[2], ids[0]]
    assert page.locator("th[aria-sort=descending]").inner_text() == "optimizer.eta ↓"
    page.locator("thead a:has-text('optimizer.eta')").click()
    page.wait_for_url("**order=asc*")
    assert rows() == [ids[0], ids[2], ids[1]]
    page.locator("thead a:text-is('study')").click()
    page.wait_for_url("**sort=label.study*")
    assert rows() == [ids[1], ids[0], ids[2]]
    page.locator("thead a:text-is('counts.energy_joules')").click()
    page.wait_for_url("**sort=result.counts*")
    assert rows() == [ids[0], ids[2], ids[1]], "the least energy first"
    assert "col=label.study" in page.url
    for head in ("Status", "Job", "Progress", "Duration"):
        page.get_by_role("link", name=head, exact=True).click()
        page.wait_for_url(f"**sort={ {'Job': 'name'}.get(head, head.lower()) }*")
        assert len(rows()) == 3


def test_lists_are_sorted_by_a_column_over_rest(api: httpx2.Client) -> None:
    ids = [
        api.post("/v1/jobs", json=train_body(seed=seed, labels={"n": str(seed)})).raise_for_status().json()["id"]
        for seed in (3, 1, 2)
    ]
    found, after = [], None
    while True:
        query = {"sort": "spec.seed", "order": "asc", "limit": 1} | ({"after": after} if after else {})
        page = api.get("/v1/jobs", params=query).raise_for_status().json()
        found += [job["id"] for job in page["data"]]
        after = page["next"]
        if after is None:
            break
    assert found == [ids[1], ids[2], ids[0]]
    table = list(csv.DictReader(io.StringIO(api.get("/jobs.csv?sort=label.n&order=desc").text)))
    assert [row["id"] for row in table] == [ids[0], ids[2], ids[1]]
    for path, status in (
        ("/v1/jobs?sort=eta", 422),
        ("/v1/models?sort=spec.seed", 422),
        ("/?sort=eta", 400),
        ("/models?sort=name", 400),
    ):
        assert api.get(path).status_code == status, path
