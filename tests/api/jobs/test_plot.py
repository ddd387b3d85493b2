"""Two columns of the table of jobs against each other, and which jobs no other one beats."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from api.jobs.columns import Column
from api.jobs.scatter import Dot, Side, front
from jobs.access.scope import DEFAULT
from jobs.repository import lifecycle
from jobs.spec import SPEC
from tests.api.dashboard import Dashboard, Visit

Open = Callable[..., Visit]


def side(*, most: bool) -> Side:
    return Side(Column("result.n"), most=most)


def dot(job: str, x: float, y: float) -> Dot:
    return Dot(job, job, "adder", x, y)


@pytest.mark.parametrize(
    ("most_x", "most_y", "best"),
    [(False, True, {"a", "c", "d"}), (True, True, {"d"}), (False, False, {"a"}), (True, False, {"b", "d", "e"})],
)
def test_the_front_has_the_jobs_that_no_other_one_beats(most_x: bool, most_y: bool, best: set[str]) -> None:
    found = [dot("a", 1, 1), dot("b", 2, 1), dot("c", 2, 3), dot("d", 4, 5), dot("e", 3.5, 1.5)]
    by_definition = {one.job for one in found if not any(_beats(other, one, most_x, most_y) for other in found)}
    assert front(found, side(most=most_x), side(most=most_y)) == by_definition
    assert by_definition == best


def _beats(other: Dot, one: Dot, most_x: bool, most_y: bool) -> bool:
    x, y = ((other.x - one.x) * (1 if most_x else -1), (other.y - one.y) * (1 if most_y else -1))
    return x >= 0 and y >= 0 and (x > 0 or y > 0)


def test_equal_jobs_are_both_on_the_front() -> None:
    assert front([dot("a", 1, 1), dot("b", 1, 1)], side(most=False), side(most=True)) == {"a", "b"}


def test_accuracy_over_energy(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    ids = []
    for reached, joules, method in ((0.96, 1e-6, "adder"), (0.95, 2e-6, "conv"), (0.97, 4e-6, "conv")):
        claim = worker.start(model={"method": method}, labels={"study": "energy"})
        worker.succeed(claim, **{"val/accuracy": reached, "counts": {"energy_joules": joules}})
        ids.append(claim.job_id)
    worker.submit(labels={"study": "energy"})
    page = visit("/?label=study:energy").page
    page.get_by_text("Columns, groups, CSV, plot").click()
    page.get_by_role("link", name="Plot of two columns").click()
    page.get_by_text("3 of 4 jobs have a number in both columns.").wait_for()
    assert page.locator("svg.figure a .dot").count() == 3
    assert page.locator("svg.figure a .front").count() == 2
    rows = [row.locator("td").all_inner_texts() for row in page.locator("tbody tr").all()]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("adder", "96.00 %", "yes"), ("conv", "97.00 %", "yes"), ("conv", "95.00 %", ""),
    ]  # fmt: skip
    page.get_by_label("log x").check()
    page.get_by_role("button", name="Draw").click()
    page.wait_for_url("**log=x*")
    assert "counts.energy_joules (log)" in page.locator("svg.figure .axis").all_text_contents()
    assert "label=study" in page.url, "the filters stay"
    page.locator(f'svg.figure a[href="/jobs/{ids[0]}"] .dot').click()
    page.wait_for_url(f"**/jobs/{ids[0]}")


def test_a_plot_of_nothing_says_so_and_a_bad_column_is_told(lite_api: httpx2.Client) -> None:
    assert "0 of 0 jobs have a number in both columns." in lite_api.get("/plot").text
    answer = lite_api.get("/plot?x=energy")
    assert answer.status_code == 400
    assert "spec.FIELD, label.NAME or result.NAME" in answer.text


def test_accuracy_over_measured_latency(visit: Open, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    ids = []
    for reached, times in ((0.96, (9.0, 4.0)), (0.95, (8.0,)), (0.97, (12.0,)), (0.99, ())):
        claim = worker.start()
        model = worker.publish(claim)
        worker.succeed(claim, **{"val/accuracy": reached})
        ids.append(claim.job_id)
        for p50 in times:  # the newest counts
            body = {"kind": "benchmark", "model_id": model, "batch_sizes": [2]}
            with worker.database.write(DEFAULT) as session:
                lifecycle.submit(session, SPEC.validate_python(body))
            worker.succeed(worker.claim(), model={"p50_ms": p50, "batch": 2})
    page = visit("/plot?kind=train").page
    page.get_by_role("link", name="accuracy over measured latency").click()
    page.get_by_text("3 of 4 jobs have a number in both columns.").wait_for()
    assert "kind=train" in page.url, "the filters stay"
    rows = {
        str(row.locator("a").get_attribute("href"))[6:]: row.locator("td").all_inner_texts()
        for row in page.locator("tbody tr").all()
    }
    assert {id_: (row[1], row[3]) for id_, row in rows.items()} == {
        ids[0]: ("2", "yes"), ids[1]: ("4", ""), ids[2]: ("6", "yes"),
    }  # fmt: skip
    assert page.locator("svg.figure a .front").count() == 2
