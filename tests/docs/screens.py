"""`make pictures`: pictures of every page, at both widths and in both colour schemes, of a service that really trains.

They go to `build/pictures`; those that README and docs show are written to `docs/pictures`, with fewer colours. It
takes three minutes: trainings, a sweep, an evaluation, an integer model and a recipe on digits,
by `adder up` with keys.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from adderclient import Client
from jobs.access import keys
from tests.acceptance.conftest import running_service
from tests.api.gallery import ADDRESSES
from tests.docs.markdown import ROOT
from tests.support.browser import CHROMIUM, new_page, started
from tests.support.specs import train_body
from tests.support.uploads import folders, zipped

FOLDER = ROOT / "build" / "pictures"
SHOWN = ROOT / "docs" / "pictures"
WIDTHS = {"desktop": {"width": 1200, "height": 820}, "phone": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
IN_DOCS: Mapping[str, str] = {
    "jobs": "jobs-desktop-light",
    "job": "jobs_running-desktop-light",
    "new": "new_from_job-desktop-light",
    "model": "models_model-desktop-dark",
    "phone": "jobs_job-phone-dark",
}
"""What README and docs show: the name of the file there, and of the picture."""
COLOURS = 128
PATIENCE = 1800.0  # seconds for a job
SETTLED_MS = 2500  # until curves are drawn


def main() -> int:
    if CHROMIUM is None:
        print("No Chromium here: apt-get install chromium", file=sys.stderr)
        return 2
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    key = keys.new_text()
    os.environ |= {"ADDER_AUTH": "on", "ADDER_OPERATOR_KEY": key}
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder) / "data") as service:
        with Client(service.url, api_key=key) as client:
            ids = _worked(client, service.url, key)
        _take(service.url, key, ids)
    _shrink()
    taken = sorted(FOLDER.iterdir())
    size = sum(path.stat().st_size for path in SHOWN.glob("*.png"))
    print(f"{len(taken)} pictures in {FOLDER}; {len(IN_DOCS)} of them in {SHOWN}, {size // 1000} kB")
    return 0


def _worked(client: Client, url: str, key: str) -> dict[str, str]:
    """Lets the service do a day's work. Returns ids by the names that `ADDRESSES` has."""

    def done(**body: Any) -> Any:
        return client.jobs.wait(client.jobs.submit(body).id, timeout=PATIENCE, check=False)

    def trained(name: str, **changes: Any) -> Any:
        made = done(**train_body(epochs=12, labels={"study": "first"}, **changes))
        client.jobs.edit(made.id, name=name)
        return made

    ids: dict[str, str] = {}
    job = trained("adder", seed=0)
    for seed in (1, 2):
        trained(f"adder, seed {seed}", seed=seed)
    trained("convolution", model={"method": "conv"})
    ids["job"], ids["model"] = job.id, str(job.model_id)
    client.jobs.edit(job.id, starred=True, notes="The first one.")
    client.models.set_alias(ids["model"], "champion")
    about: dict[str, Any] = {"model_id": ids["model"], "dataset": {"name": "digits"}}
    ids["evaluation"] = done(kind="evaluate", **about).id
    ids["imported"] = str(done(kind="quantize", bits=4, **about).model_id)
    ids["failed"] = done(**train_body(epochs=5000, limits={"max_seconds": 2})).id
    recipe = {"kind": "analyze", "recipe": "mnist", "dataset": {"name": "digits"}, "archs": ["lenet5_bn"]}
    ids["analysis"] = done(**recipe, epochs=3, seeds=[0]).id
    grid = {"optimizer.eta": [0.05, 0.1, 0.2, 0.4]}
    ids["sweep"] = client.sweeps.submit({"name": "η", "base": train_body(epochs=6), "grid": grid}).id
    client.sweeps.wait(ids["sweep"], timeout=PATIENCE)
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as api:
        hook = {"name": "chat", "url": "https://hooks.example.org/adder"}
        ids["webhook"] = api.post("/v1/webhooks", json=hook).raise_for_status().json()["id"]
        files = {"file": ("leaves.zip", zipped(folders("oak", "beech", "maple", images=12, size=(24, 24), channels=3)))}
        leaves = api.post("/v1/datasets", data={"name": "leaves"}, files=files).raise_for_status().json()
    client.jobs.wait(leaves["job_id"], timeout=PATIENCE)
    ids["running"] = client.jobs.submit(train_body(epochs=400, labels={"study": "long"})).id
    for event in client.jobs.stream(ids["running"]):
        if event.metric is not None and event.metric.epoch >= 40:
            break
    return ids


def _take(url: str, key: str, ids: Mapping[str, str]) -> None:
    with started() as browser:
        page = new_page(browser, viewport=WIDTHS["desktop"])
        page.set_default_timeout(300_000)
        page.goto(f"{url}/sign-in")
        _look(page, "sign-in")
        page.fill("input[name=key]", key)
        page.click("main button")
        page.wait_for_url(f"{url}/")
        for addresses in ADDRESSES.values():
            for address in addresses:
                page.goto(url + address.format(**ids))
                page.wait_for_timeout(SETTLED_MS)
                _look(page, _name(address))
        page.context.close()


def _look(page: Any, name: str) -> None:
    for width, size in WIDTHS.items():
        page.set_viewport_size(size)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png")


def _name(address: str) -> str:
    """A file's name for an address: `/jobs/{job}` is `jobs_job`."""
    words = "".join(sign if sign.isalnum() or sign == "-" else " " for sign in address).split()
    return "_".join(words) or "jobs"


def _shrink() -> None:
    """Writes those that the README shows, with few colours."""
    SHOWN.mkdir(exist_ok=True)
    for name, taken in IN_DOCS.items():
        with Image.open(FOLDER / f"{taken}.png") as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(SHOWN / f"{name}.png", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
