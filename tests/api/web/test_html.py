"""What the server renders, without a browser: it must all be there for those who run no scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import api
from tests.api.dashboard import Dashboard

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def get(dashboard: Dashboard) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=dashboard.url, timeout=60) as client:
        yield client


def test_an_empty_list_tells_how_to_begin(get: httpx2.Client, dashboard: Dashboard) -> None:
    answer = get.get("/")
    assert answer.status_code == 200
    assert f"curl {dashboard.url}/v1/jobs" in answer.text
    assert "adder submit job.yaml" in answer.text
    assert 'id="tabs" aria-label="Status" data-live hidden' in answer.text


def test_every_page_carries_a_strict_policy_and_nothing_inline(get: httpx2.Client, dashboard: Dashboard) -> None:
    job = dashboard.worker.submit()
    for path in ("/", "/models", f"/jobs/{job}", "/jobs/job_x"):
        answer = get.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|https?://(?!127\.0\.0\.1)", answer.text)


def test_rows_say_what_matters_without_scripts(get: httpx2.Client, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start(labels={"study": "eta"})
    dashboard.worker.epoch(claim, 4)
    dashboard.worker.submit()
    text = get.get("/").text
    assert "lenet5_bn" in text
    assert 'class="badge running"' in text
    assert 'value="0.4000"' in text
    assert "40 % · 1 min 00 s left" in text
    assert "87.50 %" in text
    assert "position 1 in the queue" in text
    assert "study:eta" in text
    assert re.search(r'<time datetime="[^"]+Z" title="[^"]+ UTC">', text)


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        ({}, None),
        ({"epoch": 3, "step": 30}, ("3", "30")),  # as an older version wrote it of a finished job
        ({"epoch": 3, "epochs": None, "step": 30, "steps": None}, ("3", "30")),
        ({"epoch": 3, "epochs": 10, "step": 30, "steps": 100}, ("3<small> / 10", "30<small> / 100")),
        ({"epoch": 0, "epochs": 0, "step": 0, "steps": 0, "fraction": 0.5}, None),  # a kind that has neither
    ],
)
def test_a_job_s_page_shows_what_its_progress_has(
    get: httpx2.Client, dashboard: Dashboard, progress: dict[str, Any], shown: tuple[str, str] | None
) -> None:
    claim = dashboard.worker.start()
    dashboard.worker.write(claim, lambda _, job: setattr(job, "progress", progress))
    answer = get.get(f"/jobs/{claim.job_id}")
    assert answer.status_code == 200
    if shown is None:
        assert "<dt>Epoch</dt>" not in answer.text
        assert "<dt>Step</dt>" not in answer.text
    else:
        assert f"<dt>Epoch</dt><dd>{shown[0]}<" in answer.text
        assert f"<dt>Step</dt><dd>{shown[1]}<" in answer.text


def test_filters_and_paging_live_in_the_address(get: httpx2.Client, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    jobs = [worker.submit(labels={"n": str(n), "even": str(n % 2 == 0)}) for n in range(27)]
    first = get.get("/").text
    assert _ids(first) == jobs[:1:-1]
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older is not None
    assert _ids(get.get("/" + older[1].replace("&amp;", "&")).text) == [jobs[1], jobs[0]]
    assert _ids(get.get("/", params={"label": "n:7"}).text) == [jobs[7]]
    assert _ids(get.get("/", params={"label": ["n:8", "even:True"]}).text) == [jobs[8]]
    assert _ids(get.get("/", params={"status": ["failed", "running"]}).text) == []
    assert "No job matches" in get.get("/", params={"kind": "evaluate"}).text


@pytest.mark.parametrize("query", ["status=idle", "label=nocolon", "after=nonsense", "label=a:%00"])
def test_a_filter_that_makes_no_sense_is_said_so(get: httpx2.Client, query: str) -> None:
    answer = get.get(f"/?{query}")
    assert answer.status_code == 400
    assert "That filter does not work" in answer.text


@pytest.mark.parametrize(
    "path", ["/jobs/job_x", "/jobs/job_00000000000000000000000000", "/models/model_x", "/jobs/%00"]
)
def test_what_is_not_there_is_a_page_for_people(get: httpx2.Client, path: str) -> None:
    answer = get.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "There is no" in answer.text


def test_the_api_keeps_its_problems(get: httpx2.Client) -> None:
    answer = get.get("/v1/jobs/job_x")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_hostile_text_stays_text(get: httpx2.Client, dashboard: Dashboard) -> None:
    claim = dashboard.worker.start(labels={HOSTILE: HOSTILE})
    dashboard.worker.log(claim, f"</pre>{HOSTILE}\n")
    dashboard.worker.event(claim, HOSTILE)
    dashboard.worker.fail(claim, "code_error", HOSTILE, HOSTILE)
    for path in ("/", f"/jobs/{claim.job_id}", f"/jobs/{HOSTILE}", f"/?label=x:{HOSTILE}"):
        assert "<script>alert" not in get.get(path).text


def test_an_evaluation_shows_its_confusion_matrix(get: httpx2.Client, dashboard: Dashboard) -> None:
    job = dashboard.worker.submit_evaluation()
    matrix = [[35 if i == k else 0 for k in range(10)] for i in range(10)]
    matrix[3][8] = 1
    dashboard.worker.succeed(dashboard.worker.claim(), accuracy=0.97, confusion_matrix=matrix)
    text = get.get(f"/jobs/{job}").text
    assert text.count('<td class="h9">35</td>') == 10
    assert '<td class="h1">1</td>' in text
    by_class = text.partition("Accuracy by class")[2]
    hardest = re.findall(r'<th scope="row">(\d)</th><td class="num wide">([\d.]+ %)</td>', by_class)
    assert hardest[0] == ("3", "97.22 %")
    assert hardest[1] == ("0", "100.00 %")
    assert len(hardest) == 10
    assert "evaluate" in get.get("/", params={"kind": "evaluate"}).text


def test_models_are_listed_and_shown(get: httpx2.Client, dashboard: Dashboard) -> None:
    assert "No model yet" in get.get("/models").text
    claim = dashboard.worker.start()
    model = dashboard.worker.publish(claim)
    listed = get.get("/models").text
    assert f'href="/models/{model}"' in listed
    assert "98.61 %" in listed
    text = get.get(f"/models/{model}").text
    assert f"/v1/models/{model}/download?format=safetensors" in text
    assert "44,426" in text


def test_a_models_page_tells_what_came_of_it(get: httpx2.Client, dashboard: Dashboard) -> None:
    worker = dashboard.worker
    parent = worker.publish(worker.start())
    claim = worker.start(init_from=parent)
    model = worker.publish(claim)
    worker.succeed(claim)
    text = get.get(f"/models/{model}").text
    assert f'<dt>trained on from</dt><dd><a href="/models/{parent}">' in text
    assert f'<a href="/jobs/{claim.job_id}">' in text
    assert "No evaluation yet" in text
    made = get.get(f"/models/{parent}").text.partition("What was made with it")[2]
    assert f'href="/jobs/{claim.job_id}"' in made
    assert f'href="/models/{model}"' in made


def test_a_strange_host_gets_into_no_command(get: httpx2.Client) -> None:
    for host in ("x;reboot", "$(reboot)"):
        assert "reboot" not in get.get("/", headers={"Host": host}).text


def test_static_files_are_revalidated_by_etag(get: httpx2.Client) -> None:
    first = get.get("/static/chart.js")
    assert first.status_code == 200
    assert first.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert get.get("/static/chart.js", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    for name in ("nope.js", "..%2fapp.py", "base.html", "__init__.py"):
        assert get.get(f"/static/{name}").status_code == 404


def test_a_page_whose_buttons_ask_has_the_dialog_that_asks() -> None:
    templates = [path.read_text() for path in Path(api.__file__).parent.rglob("*.html") if path.name != "macros.html"]
    asking = [text for text in templates if "data-confirm" in text]
    assert asking
    assert all("{{ ui.confirmation() }}" in text for text in asking)


def test_what_scrolls_is_reached_by_keys_and_has_a_name() -> None:
    templates = [path.read_text() for path in Path(api.__file__).parent.rglob("*.html")]
    boxes = [box for text in templates for box in re.findall(r'<div class="scroll\b[^>]*>', text)]
    assert len(boxes) > 10
    assert [box for box in boxes if 'tabindex="0"' not in box or "aria-label" not in box] == []


def test_pages_are_no_part_of_the_documented_api(get: httpx2.Client) -> None:
    paths = get.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith(("/jobs", "/models", "/static"))]


def _ids(html: str) -> list[str]:
    return re.findall(r'<tr id="(job_\w+)"', html)
