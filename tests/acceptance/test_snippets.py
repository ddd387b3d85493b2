"""Every command and program of the documentation, run in its page's order against a real server that trains."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from addercore.data import sample_image
from tests.acceptance.conftest import running_service
from tests.docs.markdown import ROOT, Page
from tests.docs.snippets import Reader, pages_that_run
from tests.support.uploads import folders, zipped

pytestmark = [pytest.mark.xdist_group("snippets"), pytest.mark.timeout(3600)]
TUTORIAL = "docs/tutorial.md"
SPEC = {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}, "epochs": 1}


@dataclass(frozen=True)
class World:
    """A service with something of everything, and what pages call it."""

    url: str
    words: Mapping[str, tuple[str, ...]]
    files: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("snippets")
    files = folder / "files"
    files.mkdir()
    with running_service(folder / "data") as service, service.client() as client:
        sweep = client.sweeps.submit({"name": "seeds", "base": SPEC, "grid": {"seed": [0, 1]}})
        client.sweeps.wait(sweep.id)
        jobs = [trial.job_id or "" for trial in client.sweeps.trials(sweep.id)]
        model = client.jobs.get(jobs[0]).model_id or ""
        client.jobs.download(jobs[0], "model.safetensors", files)
        integer = client.jobs.submit(
            {"kind": "quantize", "model_id": model, "dataset": {"name": "digits"}, "bits": 8}
        ).wait()
        client.jobs.download(integer.id, "model.adder", files)
        hook = client.webhooks.create("https://hooks.example/adder", name="docs")
        client.webhooks.test(hook.id)
        delivery = client.webhooks.deliveries(hook.id).data[0]
        digit = sample_image("digits", 0)
        for name in ("digit.png", "scan.png", "photo.jpg"):
            digit.save(files / name)
        pixels = digit.resize((32, 32), Image.Resampling.BILINEAR)
        (files / "digit.raw").write_bytes(pixels.tobytes())
        (files / "leaves.zip").write_bytes(zipped(folders("oak", "ash", "elm", images=12, size=(32, 32))))
        yield World(
            service.url,
            {
                "JOB": tuple(jobs),
                "MODEL": (model,),
                "SWEEP": (sweep.id,),
                "WEBHOOK": (hook.id,),
                "DELIVERY": (delivery.id,),
                "DATA": (str(service.data),),
                "f5ybcd": (jobs[0][-6:],),
            },
            files,
        )


def reader(folder: Path, world: World | None) -> Reader:
    """A reader with the installation that the tests run in."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("ADDER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**found, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    return Reader(folder, world.url if world else "", world.words if world else {}, environment)


@pytest.mark.long("starts a server and trains")
@pytest.mark.parametrize(
    "page", [page for page in pages_that_run() if page.name != TUTORIAL], ids=lambda page: page.name
)
def test_a_page_does_what_it_says(page: Page, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in world.files.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "job.yaml").write_text("kind: train\nmodel: {arch: lenet5_bn}\ndataset: {name: digits}\nepochs: 2\n")
    monkeypatch.setenv("ADDER_URL", world.url)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    with warnings.catch_warnings(), reader(tmp_path, world) as following:
        warnings.simplefilter("ignore")  # MLflow's
        following.follow(page)


@pytest.mark.long("starts a server, trains and compiles")
def test_the_tutorial_leads_from_an_empty_folder_to_a_program_in_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with reader(tmp_path, None) as following:
        following.follow(Page(ROOT / TUTORIAL))
    assert following.output[-1] == "2\n", "what the program in C says of the first digit"
