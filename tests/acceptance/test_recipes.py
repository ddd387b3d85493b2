"""Every table and figure of the paper, asked for as a user asks: `adder submit --recipe NAME`, on small settings."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adderclient import Client, Job
from addercore.config import RECIPES, RecipeInfo
from tests.acceptance.conftest import Service, running_service
from tests.support.servers import wait_until

FILES = {"result.json", "table.md", "table.csv", "figure.png", "summary.json", "log.txt"}
ADDER = Path(sys.executable).with_name("adder")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("recipes") / "data", workers=2) as running:
        yield running


def adder(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ADDER_URL": service.url, "NO_COLOR": "1"}
    return subprocess.run([ADDER, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def small(info: RecipeInfo) -> list[str]:
    """The least that the recipe can do: one seed, one epoch, its smallest network."""
    chosen: dict[str, Any] = {"seeds": [0], "resources.threads": 1}
    if info.trains:
        chosen["epochs"] = 1
    if info.small.archs is not None and info.small.archs[0] != "lenet5_bn_2d":
        chosen["archs"] = ["lenet5_bn"]
    if info.small.etas is not None:
        chosen["etas"] = [0.1, 1.0]
    return [argument for name, value in chosen.items() for argument in ("--set", f"{name}={json.dumps(value)}")]


def submit(service: Service, info: RecipeInfo) -> str:
    done = adder(service, "submit", "--recipe", info.name, *small(info))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.long("a dozen processes that load torch and train")
def test_every_recipe_gives_its_table_and_picture(service: Service, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool, service.client() as client:
        jobs = dict(zip(RECIPES, pool.map(lambda info: submit(service, info), RECIPES.values()), strict=True))
        ended = {name: client.jobs.wait(job, timeout=300, check=False) for name, job in jobs.items()}
        assert {name: (job.status, job.error) for name, job in ended.items()} == dict.fromkeys(
            RECIPES, ("succeeded", None)
        )
        list(pool.map(lambda name: fetch(service, jobs[name], tmp_path / name), RECIPES))
        for name, job in ended.items():
            assert {artifact.name for artifact in client.jobs.artifacts(job.id)} == FILES
            check(client, job, tmp_path / name)
        watched = adder(service, "watch", jobs["table1"])
        assert watched.returncode == 0, watched.stderr
        assert watched.stdout == (tmp_path / "table1" / "table.md").read_text()
        assert f"adder download {jobs['table1']} --name figure.png" in watched.stderr


def fetch(service: Service, job_id: str, folder: Path) -> None:
    done = adder(service, "download", job_id, "-o", str(folder))
    assert done.returncode == 0, done.stderr


def check(client: Client, job: Job, folder: Path) -> None:
    """The files of one recipe are whole and agree with each other and with the job's result."""
    name = job.spec["recipe"]
    result = json.loads((folder / "result.json").read_text())
    verdict = job.result["verdict"]
    assert isinstance(verdict, str), name
    assert len(verdict) > 20, name
    assert result["verdict"] == verdict
    assert (result["recipe"], result["dataset"]) == (name, "digits")
    assert verdict in (folder / "table.md").read_text()
    assert len(json.dumps(dict(job.result))) < 64_000, "big arrays are in result.json alone"
    markdown = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    head, *rows = csv.reader((folder / "table.csv").read_text().splitlines())
    assert rows, name
    assert len(markdown) == 2 + len(rows), name
    assert all(len(row) == len(head) for row in rows), name
    assert json.loads((folder / "summary.json").read_text())["environment"]["device"], name
    with Image.open(folder / "figure.png") as picture:
        picture.load()
        assert picture.width > 400, name
        darkest, brightest = picture.convert("L").getextrema()
        assert brightest - darkest > 100, f"the picture of {name} is blank"
    kinds = {artifact.name: artifact.kind for artifact in client.jobs.artifacts(job.id)}
    assert (kinds["table.md"], kinds["table.csv"], kinds["figure.png"]) == ("table", "table", "figure")


def await_checkpoint(client: Client, job_id: str, after: int) -> None:
    """Until the job has saved more than `after` checkpoints."""

    def saved() -> bool:
        return sum(event.type == "checkpoint" for event in client.jobs.events(job_id)) > after

    wait_until(saved, f"checkpoint {after + 1}")


@pytest.mark.long("two analyses of several trainings; tests/worker/test_analyze.py has the short form")
def test_killed_and_paused_an_analysis_ends_with_the_same_bytes(service: Service, tmp_path: Path) -> None:
    spec = {
        "kind": "analyze",
        "recipe": "table4",
        "etas": [0.1, 1.0],
        "seeds": [0],
        "epochs": 6,
        "checkpoint": {"every_epochs": 1, "every_seconds": None},
        "resources": {"threads": 1},
    }
    with service.client() as client:
        calm, struck = client.jobs.submit(spec).id, client.jobs.submit(spec).id
        await_checkpoint(client, struck, 0)
        service.kill("worker.child", struck)
        await_checkpoint(client, struck, 3)
        client.jobs.pause(struck)
        wait_until(lambda: client.jobs.get(struck).status == "paused", "the pause")
        client.jobs.resume(struck)
        found = []
        for job_id in (calm, struck):
            assert client.jobs.wait(job_id, timeout=300).status == "succeeded"
            names = ("result.json", "table.md", "table.csv")
            found.append([client.jobs.download(job_id, name, f"{tmp_path / job_id}/").read_bytes() for name in names])
        assert found[0] == found[1]
        assert [attempt.cause for attempt in client.jobs.attempts(struck)] == ["worker_lost", "paused", "succeeded"]


@pytest.mark.long("the whole service starts for it; tests/api/jobs/test_jobs.py has the short form")
def test_a_recipe_for_a_dataset_that_is_not_there(service: Service) -> None:
    done = adder(service, "submit", "--recipe", "table2", "--dataset", "cifar10")
    assert done.returncode == 2
    assert "adder datasets fetch cifar10" in done.stderr
    shown = adder(service, "recipes", "table2", "--dataset", "cifar10")
    assert "vgg_small" in shown.stdout
