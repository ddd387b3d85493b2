"""Daily tasks in a browser against the whole service with authentication on, counted in clicks."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adderclient import Client
from jobs.access import keys
from tests.acceptance.conftest import Service, running_service
from tests.support.browser import new_page
from tests.support.specs import train_body
from tests.support.uploads import folders

SAYS = {"curl": r'.*"label": ?"{}".*', "python": r"\w+\(label='{}',.*", "onnx": "{}", "c": "{}"}
"""What a program of a model's page prints, by the class that it finds."""
PATIENCE_MS = 600_000  # a training of a busy machine


class Reader:
    """A signed-in person whose clicks are counted; typing is free."""

    def __init__(self, page: Any, url: str, key: str) -> None:
        self.page, self.url, self.clicks = page, url, 0
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/sign-in")
        page.fill("input[name=key]", key)
        page.click("main button")
        page.wait_for_url(f"{url}/")

    def at(self, path: str) -> None:
        """Begins a task on a page."""
        self.page.goto(self.url + path)
        self.clicks = 0

    def click(self, what: Any) -> None:
        (self.page.locator(what) if isinstance(what, str) else what).click()
        self.clicks += 1

    def job(self, after: str = "") -> str:
        """The id of the job whose page has opened, another than `after`."""
        self.page.wait_for_url(lambda url: "/jobs/job_" in url and not (after and after in url))
        return str(self.page.url.rpartition("/")[2])


@pytest.fixture
def key() -> str:
    """The operator's key, as who runs the service may choose it."""
    return keys.new_text()


@pytest.fixture
def guarded(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("ADDER_AUTH", "on")
    monkeypatch.setenv("ADDER_OPERATOR_KEY", key)
    with running_service(tmp_path / "data") as service:
        yield service


@pytest.fixture
def client(guarded: Service, key: str) -> Iterator[Client]:
    with Client(guarded.url, api_key=key) as client:
        yield client


@pytest.fixture
def reader(guarded: Service, key: str, browser: Any) -> Iterator[Reader]:
    page = new_page(browser)
    yield Reader(page, guarded.url, key)
    page.context.close()


def test_daily_tasks_take_few_clicks(client: Client, reader: Reader, tmp_path: Path) -> None:
    page = reader.page

    reader.at("/")
    reader.click(page.get_by_role("button", name="Train it now"))
    first = reader.job()
    assert reader.clicks <= 2, "the first training of an empty service"
    page.locator("#now .badge.succeeded").wait_for()

    reader.clicks = 0
    reader.click(page.get_by_role("link", name="Duplicate and edit"))
    reader.click("#f-optimizer-eta")
    page.keyboard.type("0.2")
    reader.click("#go")
    again = reader.job(first)
    assert reader.clicks <= 3, "again with another η"
    assert client.jobs.get(again).spec["optimizer"]["eta"] == 0.2
    client.jobs.cancel(again)

    seeds = [client.jobs.submit(train_body(epochs=1, seed=seed)).id for seed in (1, 2)]
    for job in seeds:
        client.jobs.wait(job, timeout=PATIENCE_MS / 1000)
    reader.at("/")
    for job in seeds:
        reader.click(f"#{job} input[type=checkbox]")
    reader.click("#compare-button")
    page.wait_for_url("**/compare?*")
    assert reader.clicks <= 3, "two seeds compared"
    assert all(job in page.content() for job in seeds)

    model = client.jobs.get(first).model_id
    reader.at(f"/models/{model}")
    reader.click(page.get_by_role("link", name="Quantize"))
    reader.click("#go")
    quantised = reader.job()
    assert reader.clicks <= 2, "a model quantised"
    client.jobs.wait(quantised, timeout=PATIENCE_MS / 1000)

    for name, content in folders("low", "high", images=20, size=(32, 32)).items():
        path = tmp_path / "shades" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    reader.at("/datasets")
    page.set_input_files("input[name=folder]", tmp_path / "shades")
    reader.clicks += 1  # the dialog of the system
    reader.click(page.get_by_role("button", name="Upload"))
    row = page.get_by_role("row").filter(has_text="shades@1")
    reader.click(row.get_by_role("link", name="Train on it"))
    page.select_option("#f-model-arch", "lenet5_bn")
    reader.clicks += 1
    page.fill("#f-epochs", "1")
    reader.click("#go")
    own = reader.job()
    assert reader.clicks <= 5, "a folder uploaded and trained on"
    assert client.jobs.wait(own, timeout=PATIENCE_MS / 1000).status == "succeeded"


@pytest.mark.long("the service trains, quantises and evaluates; a C compiler and ONNX Runtime run")
def test_what_a_models_page_says_runs_as_it_stands(guarded: Service, client: Client, key: str, tmp_path: Path) -> None:
    import addercore

    job = client.jobs.wait(client.jobs.submit(train_body(epochs=8)).id, timeout=PATIENCE_MS / 1000)
    assert job.model_id is not None
    dataset = {"name": "digits"}
    made = client.jobs.submit({"kind": "quantize", "model_id": job.model_id, "dataset": dataset})
    integers = client.jobs.wait(made.id, timeout=PATIENCE_MS / 1000).model_id
    assert integers is not None
    addercore.sample_image("digits", 0).save(tmp_path / "image.png")
    expected = client.models.predict(job.model_id, tmp_path / "image.png")["label"]
    for model, uses in ((job.model_id, ("curl", "python", "onnx")), (integers, ("curl", "python", "onnx", "c"))):
        evaluated = client.jobs.submit({"kind": "evaluate", "model_id": model, "dataset": dataset})
        client.jobs.wait(evaluated.id, timeout=PATIENCE_MS / 1000)
        text = _page(guarded.url, key, f"/models/{model}")
        assert "Accuracy by class" in text
        assert f"/v1/jobs/{evaluated.id}/artifacts/mistakes.png" in text
        for use in uses:
            said = re.search(rf'<pre id="use-{use}"[^>]*><code>(.*?)</code></pre>', text, re.S)
            assert said is not None, use
            answer = _run(use, html.unescape(said[1]), key, tmp_path)
            assert re.fullmatch(SAYS[use].format(expected), answer.strip(), re.S), (use, answer)
    lineage = _page(guarded.url, key, f"/models/{job.model_id}")
    assert f"/models/{integers}" in lineage
    assert f"/models/{job.model_id}" in _page(guarded.url, key, f"/models/{integers}")


def _page(url: str, key: str, path: str) -> str:
    import httpx2

    answer = httpx2.get(url + path, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    return answer.raise_for_status().text


def _run(use: str, text: str, key: str, folder: Path) -> str:
    """What a snippet prints that is run in a folder with `image.png`, with the key in the environment alone."""
    program = [sys.executable, "-c", text] if use in ("python", "onnx") else ["bash", "-euo", "pipefail", "-c", text]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # its python3 has NumPy and Pillow
    environment = os.environ | {"ADDER_API_KEY": key, "PATH": path}
    done = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, f"{use}: {done.stderr}"
    return done.stdout
