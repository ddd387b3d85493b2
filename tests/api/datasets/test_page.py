"""The page of datasets: what there is, what is wrong with an upload, sending and deleting one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from addercore.config import DATASETS
from jobs.access.scope import DEFAULT
from jobs.tables import Dataset
from tests.api.attempt import Worker
from tests.api.dashboard import Dashboard, Visit
from tests.support.datasets import make_ready
from tests.support.specs import train_body
from tests.support.uploads import arrays, folders, npz, written

Open = Callable[..., Visit]

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def get(dashboard: Dashboard) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=dashboard.url, timeout=60) as client:
        yield client


def upload(get: httpx2.Client, name: str = "leaves", seed: int = 0) -> dict[str, str]:
    answer = get.post("/v1/datasets", data={"name": name}, files={"file": npz(**arrays(seed=seed))})
    made: dict[str, str] = answer.json()
    return made


def test_published_and_uploaded_datasets_are_listed(get: httpx2.Client, dashboard: Dashboard) -> None:
    made = upload(get)
    text = get.get("/datasets").text
    assert all(f'id="ds_{name}"' in text for name in DATASETS)
    assert 'aria-current="page">Datasets</a>' in text
    assert f'href="/jobs/{made["job_id"]}"' in text
    assert "adder datasets fetch cifar10" in text
    make_ready(Worker(dashboard.worker.database, dashboard.worker.store), made["id"])
    text = get.get("/datasets").text
    assert f'href="/jobs/{made["job_id"]}"' not in text
    assert "A note." in text

    job = get.post("/v1/jobs", json=train_body(dataset={"name": "leaves"})).json()
    assert "leaves@1" in get.get(f"/jobs/{job['id']}").text
    assert "leaves@1" in get.get("/").text


def test_problems_stay_text(get: httpx2.Client, dashboard: Dashboard) -> None:
    from jobs.repository import datasets, lifecycle

    made = upload(get)
    with dashboard.worker.database.write(DEFAULT) as session:
        lifecycle.cancel(session, made["job_id"])
        datasets.explain(session, made["id"], [f"{HOSTILE} {number}" for number in range(8)])
    text = get.get("/datasets").text
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") == 8
    assert "3 more</summary>" in text


def test_a_page_that_does_not_exist(get: httpx2.Client) -> None:
    assert get.get("/datasets?after=nonsense").status_code == 400


def test_a_file_is_sent_and_its_dataset_deleted(
    visit: Open, dashboard: Dashboard, get: httpx2.Client, tmp_path: Path
) -> None:
    opened = visit("/datasets")
    opened.expected.append("422")
    page = opened.page
    form = page.get_by_role("form", name="Upload a dataset")
    form.get_by_label("File", exact=True).set_input_files(written(tmp_path, b"no dataset"))
    form.get_by_label("Name").fill("leaves")
    form.get_by_role("button", name="Upload").click()
    page.get_by_role("alert").get_by_text("none of the known formats").wait_for()
    form.get_by_label("File", exact=True).set_input_files(written(tmp_path, npz(**arrays()), "leaves.npz"))
    form.get_by_label("Size").fill("16x12")
    form.get_by_role("button", name="Upload").click()
    row = page.get_by_role("row").filter(has_text="leaves@1")
    row.get_by_text("validating").wait_for()
    made = get.get("/v1/datasets/leaves").json()
    assert get.get(f"/v1/jobs/{made['job_id']}").json()["spec"]["options"]["size"] == [16, 12]
    make_ready(Worker(dashboard.worker.database, dashboard.worker.store), made["id"])
    row.get_by_text("ready").wait_for()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    row.wait_for(state="detached")
    assert get.get("/v1/datasets/leaves").status_code == 404


def test_a_folder_is_packed_and_sent_with_its_options(
    visit: Open, dashboard: Dashboard, get: httpx2.Client, tmp_path: Path
) -> None:
    files = folders("a" * 90, "b") | {".hidden/x.png": b"nothing"}
    for name, content in files.items():
        path = tmp_path / "leaves" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page = visit("/datasets").page
    form = page.get_by_role("form", name="Upload a dataset")
    form.get_by_role("button", name="Upload").click()
    assert "Choose a file or a folder" not in form.inner_text()  # the name is missing first
    form.get_by_label("Or a folder").set_input_files(tmp_path / "leaves")
    assert form.get_by_label("Name").input_value() == "leaves"
    form.get_by_text("More options").click()
    form.get_by_label("Share that validates").fill("0.25")
    form.get_by_label("Images that cannot be read").select_option("skip")
    form.get_by_role("button", name="Upload").click()
    page.get_by_role("row").filter(has_text="leaves@1").wait_for()
    made = get.get("/v1/datasets/leaves").json()
    options = get.get(f"/v1/jobs/{made['job_id']}").json()["spec"]["options"]
    assert (options["validation_fraction"], options["on_bad_image"], options["seed"]) == (0.25, "skip", 0)
    with dashboard.worker.database.read(DEFAULT) as session:
        row = session.get_one(Dataset, made["id"])
    with dashboard.worker.store.open(row.source_sha256) as file:
        content = io.BytesIO(file.read())
    with tarfile.open(fileobj=content) as packed:
        found = {one.name: packed.extractfile(one) for one in packed}
        assert {name: one.read() for name, one in found.items() if one} == {
            f"leaves/{name}": content for name, content in files.items() if not name.startswith(".")
        }
