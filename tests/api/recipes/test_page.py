"""The page of recipes, and the page of a job that computed one."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from addercore.config import RECIPES
from jobs.access.scope import DEFAULT
from jobs.repository import attempts, lifecycle
from jobs.repository.attempts import Claim, NewArtifact
from jobs.spec import SPEC
from jobs.states import Status
from jobs.tables import Job
from tests.api.attempt import model_file
from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until

Open = Callable[..., Visit]

HOSTILE = '"><script>alert(1)</script>'
COLUMNS = [
    {"key": "layer", "title": "Layer", "kind": "text"},
    {"key": "adder", "title": "adder", "kind": "number"},
]
RESULT: dict[str, Any] = {
    "recipe": "figure4",
    "verdict": "Adder weights follow a Laplace distribution, those of the convolution a Gaussian one.",
    "holds": True,
    "reasons": ["conv1: Laplace by 12.3 nats"],
    "caption": "Weights of LeNet-5-BN on digits",
    "columns": COLUMNS,
    "rows": [{"layer": "conv1", "adder": 0.00123456}],
    "cells": [["conv1", "0.001235"]],
}


@pytest.fixture
def get(dashboard: Dashboard) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=dashboard.url, timeout=60) as client:
        yield client


def start(dashboard: Dashboard, **changes: Any) -> Claim:
    body = {"kind": "analyze", "recipe": "figure4", "epochs": 2, **changes}
    with dashboard.worker.database.write(DEFAULT) as session:
        lifecycle.submit(session, SPEC.validate_python(body))
    return dashboard.worker.claim()


def succeed(dashboard: Dashboard, claim: Claim, **changes: Any) -> None:
    """As a worker ends it, with a real picture."""
    picture = io.BytesIO()
    Image.new("RGB", (640, 400), "white").save(picture, "png")
    stored = dashboard.worker.store.put_stream([picture.getvalue()])

    def end(session: Any, job: Job) -> None:
        job.result = RESULT | changes
        attempts.add_artifacts(session, job, [NewArtifact("figure.png", "figure", "image/png", stored)])
        attempts.finish(session, job, Status.SUCCEEDED, "The analysis is done.")

    dashboard.worker.write(claim, end)


def test_every_recipe_has_a_card_with_its_command(get: httpx2.Client) -> None:
    text = get.get("/recipes").text
    assert re.findall(r'<article class="recipe card" id="recipe-(\w+)"', text) == list(RECIPES)
    assert "adder submit --recipe table1 --watch" in text
    assert "billion operations" in text
    assert "Here, on" not in text, "nothing has run yet, so nobody knows how long it takes"
    assert 'aria-current="page">Recipes</a>' in text


def test_cards_say_how_long_it_takes_here_once_jobs_have_run(get: httpx2.Client, dashboard: Dashboard) -> None:
    dashboard.worker.succeed(dashboard.worker.start())
    assert get.get("/recipes").text.count("Here, on cpu") == len(RECIPES)


def test_recipes_are_fitted_to_a_dataset(get: httpx2.Client) -> None:
    text = get.get("/recipes", params={"dataset": "cifar10"}).text
    assert "adder submit --recipe table2 --dataset cifar10 --watch" in text
    assert "&#34;vgg_small&#34;" in text
    assert "<option selected>cifar10</option>" in text
    refused = get.get("/recipes", params={"dataset": HOSTILE})
    assert refused.status_code == 400
    assert "<script>alert" not in refused.text


def test_an_analysis_shows_verdict_table_and_picture(get: httpx2.Client, dashboard: Dashboard) -> None:
    claim = start(dashboard)
    path = f"/jobs/{claim.job_id}"
    waiting = get.get(path).text
    assert "Verdict" not in waiting
    assert 'data-runs="[&#34;adder-0&#34;, &#34;conv-0&#34;]"' in waiting
    succeed(dashboard, claim)
    text = get.get(path).text
    assert RESULT["verdict"] in text
    assert 'class="verdict yes"' in text
    assert "conv1: Laplace by 12.3 nats" in text
    assert '<td>conv1</td><td class="num">0.001235</td>' in text
    assert f'<img src="/v1/jobs/{claim.job_id}/artifacts/figure.png"' in text
    assert "figure4" in get.get("/", params={"kind": "analyze"}).text


@pytest.mark.parametrize(
    "odd",
    [
        {"columns": None},
        {"columns": 3, "cells": [1]},
        {"columns": [{}]},
        {"cells": [["a"], ["a", "b", "c"]]},
        {"reasons": 3},
        {"verdict": ["no text"]},
        {"holds": "yes"},
    ],
)
def test_a_result_of_another_version_is_shown_as_far_as_it_goes(
    get: httpx2.Client, dashboard: Dashboard, odd: dict[str, Any]
) -> None:
    claim = start(dashboard)
    succeed(dashboard, claim, **odd)
    assert get.get(f"/jobs/{claim.job_id}").status_code == 200


def test_hostile_results_stay_text(get: httpx2.Client, dashboard: Dashboard) -> None:
    claim = start(dashboard)
    columns = [{"title": HOSTILE, "kind": "text"}]
    succeed(dashboard, claim, verdict=HOSTILE, reasons=[HOSTILE], caption=HOSTILE, columns=columns, cells=[[HOSTILE]])
    text = get.get(f"/jobs/{claim.job_id}").text
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 5


def test_a_button_runs_a_recipe(visit: Open, dashboard: Dashboard) -> None:
    page = visit("/recipes").page
    card = page.locator("#recipe-table4")
    card.get_by_role("button", name="Run it").click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_role("heading", name="table4 · digits").wait_for()
    claim = dashboard.worker.claim()
    assert (claim.kind, claim.spec["recipe"], claim.spec["etas"]) == ("analyze", "table4", [1.0, 0.5, 0.2, 0.1, 0.05])


def test_a_dataset_is_chosen_on_a_small_screen_too(visit: Open) -> None:
    page = visit("/recipes", viewport={"width": 390, "height": 844}).page
    page.get_by_role("combobox", name="Dataset").select_option("cifar10")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("adder submit --recipe table2 --dataset cifar10 --watch").wait_for()


def test_a_refused_recipe_says_which_command_fetches_its_dataset(visit: Open) -> None:
    opened = visit("/recipes?dataset=cifar10")
    opened.expected = ["422"]
    opened.page.locator("#recipe-table2").get_by_role("button", name="Run it").click()
    opened.page.get_by_role("alert").filter(has_text="adder datasets fetch cifar10").wait_for()


def test_curves_of_each_run_and_then_the_picture(visit: Open, dashboard: Dashboard) -> None:
    claim = start(dashboard)
    dashboard.worker.points(claim, "adder-0/train/loss", [2.0, 1.0, 0.5])
    page = visit(f"/jobs/{claim.job_id}").page
    page.get_by_text("Training loss, each run").wait_for()
    page.locator('path.curve[data-series="adder-0/train/loss"]').wait_for()
    dashboard.worker.points(claim, "conv-0/train/loss", [2.0, 1.5], first_step=4)
    page.locator('path.curve[data-series="conv-0/train/loss"]').wait_for()
    succeed(dashboard, claim)
    page.get_by_text(RESULT["verdict"]).wait_for()
    picture = page.locator(".picture img")
    wait_until(lambda: picture.evaluate("e => e.naturalWidth") == 640, "the picture to be drawn")


def test_a_model_is_looked_into_from_its_page(visit: Open, dashboard: Dashboard, get: httpx2.Client) -> None:
    model = get.post("/v1/models", files={"weights": model_file()}).json()["id"]
    page = visit(f"/models/{model}").page
    page.get_by_role("row", name=RECIPES["figure4"].title).get_by_role("button", name="Run it").click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_role("heading", name="figure4 · digits").wait_for()
    claim = dashboard.worker.claim()
    assert (claim.spec["recipe"], claim.spec["model_id"], claim.spec["archs"]) == ("figure4", model, None)
