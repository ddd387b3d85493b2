"""The page *New job* in a browser, against the service with auth on: forms of every kind, checks, sweeps, YAML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from jobs.store import store_of
from tests.api.access.conftest import Access, Party, guarded, settings
from tests.api.attempt import MANIFEST, model_file
from tests.api.dashboard import Dashboard, Visit
from tests.api.stand_in import StandIn
from tests.support.specs import train_body

__all__ = ["guarded", "settings"]  # fixtures
Open = Callable[..., Visit]


@pytest.fixture
def party(guarded: Access) -> Party:
    return guarded.party("vision")


@pytest.fixture
def api(party: Party) -> Any:
    with party.client() as client:
        yield client


@pytest.fixture
def dashboard(guarded: Access) -> Dashboard:
    """A server that needs keys, with a live worker."""
    worker = StandIn(guarded.database, store_of(guarded.site.settings))
    worker.heartbeat()
    return Dashboard(guarded.site.url, worker)


@pytest.fixture
def enter(visit: Open, dashboard: Dashboard, party: Party) -> Open:
    """Opens a path as a signed-in member."""

    def open_(path: str, **options: Any) -> Visit:
        opened = visit("/sign-in", **options)
        opened.page.fill("input[name=key]", party.keys["member"])
        opened.page.click("main button")
        opened.page.wait_for_url(f"{dashboard.url}/")
        opened.page.goto(dashboard.url + path)
        return opened

    return open_


def newest(api: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/v1/jobs").raise_for_status().json()["data"][0]
    return found


pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_training_is_filled_in_checked_while_one_types_and_started(enter: Open, api: httpx2.Client) -> None:
    page = enter("/new").page
    assert "Fill in what is required" in page.inner_text("#cost")
    page.select_option("#f-model-arch", "lenet5_bn")
    page.select_option("#f-dataset-name", "digits")
    page.get_by_text("416,520").or_(page.get_by_text("833,040")).first.wait_for()
    assert page.get_attribute("#f-epochs", "placeholder") == "30", "the default of the recipe for this dataset"
    page.fill("#f-optimizer-eta", "-1")
    page.locator("#f-optimizer-eta-wrong").wait_for()
    assert page.inner_text("#f-optimizer-eta-wrong") == "must be > 0, got -1"
    assert page.get_attribute("#f-optimizer-eta", "aria-invalid") == "true"
    page.fill("#f-optimizer-eta", "0.2")
    page.locator("#f-optimizer-eta-wrong").wait_for(state="detached")
    page.locator("#cost dl").wait_for()
    page.click("#go")
    page.wait_for_url("**/jobs/job_*")
    spec = newest(api)["spec"]
    assert (spec["optimizer"]["eta"], spec["epochs"], spec["model"]["arch"]) == (0.2, 30, "lenet5_bn")


def test_the_form_works_without_a_script(enter: Open, api: httpx2.Client) -> None:
    opened = enter("/new", java_script_enabled=False)
    opened.expected = ["422"]
    page = opened.page
    page.select_option("#f-model-arch", "lenet5_bn")
    page.fill("#f-epochs", "many")
    page.click("#go")
    assert "required" in page.inner_text("#f-dataset-name-wrong")
    assert '"many"' in page.inner_text("#f-epochs-wrong")
    page.select_option("#f-dataset-name", "digits")
    page.fill("#f-epochs", "3")
    page.click("#go")
    page.wait_for_url("**/jobs/job_*")
    assert newest(api)["spec"]["epochs"] == 3


def test_the_first_training_takes_one_click(enter: Open, api: httpx2.Client) -> None:
    page = enter("/").page
    page.get_by_role("button", name="Train it now").click()
    page.wait_for_url("**/jobs/job_*")
    page.locator(".badge.queued").wait_for()
    assert newest(api)["spec"]["dataset"]["name"] == "digits"


def test_what_the_form_says_stands_beside_it_and_is_read_back(enter: Open, api: httpx2.Client) -> None:
    page = enter("/new").page
    text = "kind: train\nmodel: {arch: lenet5_bn, method: conv}\ndataset: {name: digits}\nlabels: {study: eta}\n"
    text += "early_stop: {patience: 3}\nepochs: 4\n"
    page.click("#g-yaml summary")
    page.fill("#yaml", text)
    page.click("text=Read it into the form")
    page.wait_for_url("**/new")
    assert page.input_value("#f-labels") == "study:eta"
    assert page.input_value("#f-early_stop-patience") == "3"
    assert page.is_checked("[name=early_stop]")
    page.click("summary:has-text('As a curl command')")
    assert '"patience": 3' in page.inner_text("#says-curl")
    assert "$ADDER_API_KEY" in page.inner_text("#says-curl")
    page.click("summary:has-text('As YAML')")
    said = page.inner_text("#says-yaml")
    page.click("#go")
    page.wait_for_url("**/jobs/job_*")
    assert newest(api)["spec"]["early_stop"] == {"patience": 3, "min_delta": 0.0}
    page.goto(page.url.split("/jobs/")[0] + "/new")
    page.click("#g-yaml summary")
    page.fill("#yaml", said)
    page.click("text=Read it into the form")
    page.wait_for_load_state()
    page.click("summary:has-text('As YAML')")
    assert page.inner_text("#says-yaml") == said


def test_a_text_that_the_form_cannot_show_is_refused_and_kept(enter: Open) -> None:
    opened = enter("/new")
    opened.expected = ["422"]
    page = opened.page
    page.click("#g-yaml summary")
    page.fill("#yaml", "kind: train\nmodel: {arch: lenet5_bn}\ndataset: {name: digits}\noptimizer: {learning_rate: 1}")
    page.click("text=Read it into the form")
    assert "optimizer.learning_rate" in page.inner_text("#g-yaml [role=alert]")
    assert "learning_rate: 1" in page.input_value("#yaml")


@pytest.mark.parametrize(
    ("mode", "values", "field", "part", "jobs"),
    [
        ("grid", "0.05, 0.1, 0.2", "optimizer.eta", {"optimizer.eta": [0.05, 0.1, 0.2]}, "3"),
        ("search", "0.01 to 1 log", "optimizer.lr", None, "6 at most"),
    ],
)
def test_a_sweep_is_filled_in_and_started(
    enter: Open, api: httpx2.Client, mode: str, values: str, field: str, part: Any, jobs: str
) -> None:
    page = enter("/new?model.arch=lenet5_bn&dataset.name=digits&epochs=2").page
    page.click("#g-sweep summary")
    page.check(f"[name=sweep][value={mode}]")
    page.select_option("[name=vary] >> nth=0", field)
    page.fill("[name=values] >> nth=0", "0, 1" if mode == "grid" else "1 to 0 log")
    page.locator("#row-1-wrong").wait_for()
    page.fill("[name=values] >> nth=0", values)
    if mode == "search":
        page.fill("#f-sweep-trials", "6")
    page.locator(f"#cost dl:has-text('{jobs}')").wait_for()
    page.click("#go")
    page.wait_for_url("**/sweeps/sweep_*")
    spec = api.get("/v1/sweeps").json()["data"][0]["spec"]
    assert spec[mode] == part or spec[mode][field]["log"] is True
    assert spec["base"]["epochs"] == 2


@pytest.mark.parametrize("kind", ["evaluate", "analyze", "quantize"])
def test_each_kind_has_its_form(enter: Open, api: httpx2.Client, party: Party, guarded: Access, kind: str) -> None:
    guarded.fill(party, "plain")
    model = party.ids["model"]
    given = "recipe=mnist&epochs=1&seeds=0, 1&archs=lenet5_bn" if kind == "analyze" else f"model_id={model}"
    page = enter(f"/new?kind={kind}&{given}&dataset.name=digits").page
    assert page.locator(".wrong").count() == 0, page.inner_text("#new")
    page.click("#go")
    page.wait_for_url("**/jobs/job_*")
    spec = newest(api)["spec"]
    assert spec["kind"] == kind
    if kind == "analyze":
        assert (spec["seeds"], spec["archs"], spec["epochs"]) == ([0, 1], ["lenet5_bn"], 1)
    else:
        assert spec["model_id"] == model


def test_a_job_is_edited_and_sent_again_with_what_differs_alone(enter: Open, api: httpx2.Client) -> None:
    body = train_body(model={"method": "conv"}, epochs=7, optimizer={"eta": 0.3}, labels={"study": "eta"})
    job = api.post("/v1/jobs", json=body).raise_for_status().json()
    page = enter(f"/new?from={job['id']}").page
    page.click("summary:has-text('As YAML')")
    lines = page.inner_text("#says-yaml").strip().splitlines()
    assert lines == [
        "kind: train",
        "model: {arch: lenet5_bn, method: conv}",
        "dataset: {name: digits}",
        "optimizer: {eta: 0.3}",
        "epochs: 7",
        "labels: {study: eta}",
    ]
    page.click("#go")
    page.wait_for_url("**/jobs/job_*")
    again = newest(api)
    assert again["id"] != job["id"]
    assert again["spec"] == job["spec"]


def test_a_job_of_another_project_is_not_there_to_begin_from(guarded: Access, api: httpx2.Client) -> None:
    other = guarded.party("audio")
    guarded.fill(other, "plain")
    assert api.get(f"/new?from={other.ids['job']}").status_code == 404


def test_a_viewer_may_not_open_the_form(party: Party) -> None:
    with party.client("viewer") as viewer:
        assert viewer.get("/new").status_code == 403


def test_a_training_is_continued_from_its_page(enter: Open, api: httpx2.Client, guarded: Access, party: Party) -> None:
    guarded.fill(party, "plain")
    opened = enter(f"/jobs/{party.ids['job']}")
    page = opened.page
    page.click("summary:has-text('Continue this training')")
    page.fill("[name=epochs]", "4")
    page.fill("[name=lr]", "0.01")
    page.click("button:text-is('Continue')")
    page.wait_for_url(lambda url: "/jobs/job_" in url and party.ids["job"] not in url)
    made = newest(api)
    assert (made["continued_from"], made["spec"]["epochs"], made["spec"]["optimizer"]["lr"]) == (
        party.ids["job"],
        4,
        0.01,
    )


def test_a_model_is_imported_on_the_page(enter: Open, api: httpx2.Client) -> None:
    opened = enter("/models")
    opened.expected = ["422"]
    page = opened.page
    page.click("summary:has-text('Import a model')")
    page.set_input_files("[name=weights]", {"name": "m.safetensors", "mimeType": "", "buffer": b"nothing"})
    page.click("button:text-is('Import')")
    page.locator("#problem:not([hidden])").wait_for()
    file = {"name": "model.safetensors", "mimeType": "application/octet-stream", "buffer": model_file(MANIFEST)}
    page.set_input_files("[name=weights]", file)
    page.click("button:text-is('Import')")
    page.wait_for_url("**/models/model_*")
    assert api.get("/v1/models").json()["data"][0]["source"] == "imported"


def test_an_operator_drains_a_worker(visit: Open, dashboard: Dashboard, guarded: Access, party: Party) -> None:
    page = visit("/sign-in").page
    page.fill("input[name=key]", party.keys["operator"])
    page.click("main button")
    page.wait_for_url(f"{dashboard.url}/")
    page.goto(f"{dashboard.url}/workers")
    page.click("#worker_a button:text-is('Drain')")
    page.locator("#worker_a .badge:has-text('drained')").wait_for()
    page.click("#worker_a button:text-is('Let it work again')")
    page.locator("#worker_a .badge:has-text('active')").wait_for()
    with party.client("member") as member:
        assert member.get("/workers").status_code == 403
