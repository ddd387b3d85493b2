"""Makes `fixtures/c5f82c9.tar.xz`: two services as commit c5f82c9 left them, and what it made of them afterwards.

Runs on a checkout of that commit, with that commit's dependencies, and refuses any other:

    git clone . /srv/adder-fixture/checkout && cd /srv/adder-fixture/checkout && git checkout c5f82c9 && make setup
    PYTHONPATH=$PWD .venv/bin/python REPOSITORY/tests/upgrade/make_fixture.py fixture.tar.xz

It may be interrupted: what a service left is kept in the work folder, and only the rest is made again. Remove that
folder to begin anew. Every job is submitted over HTTP and run by the real worker. The service on PostgreSQL uses the
system's PostgreSQL 15, whose dump any later version restores. README.md beside this file says what is in the archive.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import lzma
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psycopg
import sqlalchemy
import torch

sys.path.insert(0, str(Path(__file__).parent))
import reading  # type: ignore[import-not-found]  # beside this file; the checkout has no such package

COMMIT = "c5f82c9"
PORTABLE = {"ADDER_BACKEND": "portable"}
THREADS = {"resources": {"threads": 1}}
NO_CHECKPOINTS = {"checkpoint": {"every_epochs": None, "every_seconds": None}}
LENET = {"arch": "lenet5_bn"}
SHORT: dict[str, Any] = {
    "kind": "train", "model": LENET, "dataset": {"name": "digits"}, "epochs": 1, **THREADS, **NO_CHECKPOINTS,
}  # fmt: skip
LONG: dict[str, Any] = SHORT | {"epochs": 20, "checkpoint": {"every_epochs": 1, "every_seconds": None, "keep": 1}}
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 2, "pb": 2}]
"""Most of the archive is float32, four bytes each. The dictionary (64 MiB) finds the same blob in both services."""
RECORD = "fixture.json"
UNFIT = re.compile(r"/(?:work|tmp|root|home)/\w")
"""What must not be in the archive: folders of the machine that made it. Tracebacks in logs name those of the checkout
and of the virtual environment, so both lie in a neutral place, /srv/adder-fixture."""


class Services:
    """`adder up` of the checkout, on one folder and database."""

    def __init__(self, data: Path, database_url: str | None) -> None:
        self._data = data
        self._database_url = database_url

    @contextmanager
    def running(self, **environment: str) -> Iterator[httpx2.Client]:
        acceptance = importlib.import_module("tests.acceptance.conftest")
        os.environ.update(environment)
        try:
            with (
                acceptance.running_service(self._data, self._database_url) as service,
                reading.connect(service.url) as http,
            ):
                yield http
        finally:
            for name in environment:
                del os.environ[name]


def submit(http: httpx2.Client, body: dict[str, Any], key: str | None = None) -> str:
    job_id: str = reading.post(http, "/v1/jobs", body, expect=201, key=key)["id"]
    return job_id


def run(http: httpx2.Client, body: dict[str, Any], status: str, key: str | None = None) -> dict[str, Any]:
    return ended(http, submit(http, body, key), status)


def ended(http: httpx2.Client, job_id: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = reading.wait_job(http, job_id)
    assert found["status"] == status, f"{job_id} is {found['status']}, not {status}: {found['error']}"
    return found


def pause(http: httpx2.Client, body: dict[str, Any]) -> str:
    """A training that was paused within an epoch, after its first checkpoint."""
    job_id = submit(http, body)
    reading.wait_job(http, job_id, "running")
    while not any(event["type"] == "checkpoint" for event in reading.job(http, job_id)["events"]):
        assert reading.get(http, f"/v1/jobs/{job_id}")["status"] == "running"
    reading.post(http, f"/v1/jobs/{job_id}/pause", expect=202)
    progress = reading.wait_job(http, job_id, "paused")["progress"]
    assert 0 < progress["step"] < progress["steps"], progress
    return job_id


def small_dataset(classes: int = 3) -> bytes:
    """96 images of 12×12 as an .npz, shades that tell the classes apart."""
    labels = np.arange(96) % classes
    noise = np.random.default_rng(0).integers(0, 50, (96, 12, 12))
    images = (noise + (labels * 200 // classes)[:, None, None]).astype(np.uint8)
    file = io.BytesIO()
    names = ["low", "mid", "high"][:classes]
    np.savez_compressed(file, images=images, labels=labels, classes=names)
    return file.getvalue()


def empty_model(http: httpx2.Client, trained: str) -> bytes:
    """The file of a trained model with zeros for weights: another model for the import, of almost no size."""
    models = importlib.import_module("addercore.io")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(http.get(f"/v1/models/{trained}/download").content)
        weights = {name: torch.zeros_like(tensor) for name, tensor in models.load_weights(path).items()}
    manifest = reading.get(http, f"/v1/models/{trained}/download", format="manifest")
    found: bytes = models.encode(weights, manifest)
    return found


def finished_jobs(http: httpx2.Client, upload: bytes) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Jobs of every kind, ended in every way; ids by role, and the requests that carried an Idempotency-Key."""
    dataset = reading.upload_dataset(http, "shades", upload, expect=201)
    refused = reading.upload_dataset(http, "one-class", small_dataset(classes=1), expect=201)
    ended(http, dataset["job_id"], "succeeded")
    ended(http, refused["job_id"], "failed")
    train = SHORT | {"labels": {"study": "upgrade", "user": "ada"}}
    trained = run(http, train, "succeeded", key="upgrade-train")
    evaluate = {
        "kind": "evaluate", "model_id": trained["model_id"], "dataset": {"name": "digits"}, **THREADS,
    }  # fmt: skip
    evaluated = run(http, evaluate, "succeeded", key="upgrade-evaluate")
    analyzed = run(http, {"kind": "analyze", "recipe": "table1", "seeds": [0], **THREADS}, "succeeded")
    diverging = SHORT | {"model": LENET | {"method": "conv"}, "optimizer": {"lr": 1e30}}
    failed = run(http, diverging, "failed")
    retried = reading.post(http, f"/v1/jobs/{trained['id']}/retry", expect=201)["id"]
    cancelled = submit(http, SHORT | {"priority": -1})
    reading.post(http, f"/v1/jobs/{cancelled}/cancel", expect=202)
    ended(http, retried, "succeeded")
    ended(http, cancelled, "cancelled")
    stopped = submit(
        http, {"kind": "analyze", "recipe": "table4", "seeds": [0], "etas": [0.1], "epochs": 50, **THREADS}
    )
    reading.wait_job(http, stopped, "running")
    reading.post(http, f"/v1/jobs/{stopped}/cancel", expect=202)
    ended(http, stopped, "cancelled")
    weights = ("model.safetensors", empty_model(http, trained["model_id"]), "application/octet-stream")
    answer = http.post("/v1/models", files={"weights": weights})
    assert answer.status_code == 201, answer.text
    roles = {
        "dataset": dataset["id"], "refused_dataset": refused["id"], "ingested": dataset["job_id"],
        "refused": refused["job_id"], "trained": trained["id"], "evaluated": evaluated["id"],
        "analyzed": analyzed["id"], "failed": failed["id"], "retried": retried, "cancelled": cancelled,
        "stopped": stopped, "model": trained["model_id"], "imported": answer.json()["id"],
    }  # fmt: skip
    requests = [
        {"path": "/v1/jobs", "key": "upgrade-train", "body": train, "id": trained["id"]},
        {"path": "/v1/jobs", "key": "upgrade-evaluate", "body": evaluate, "id": evaluated["id"]},
    ]
    return roles, requests


def half_done_sweeps(http: httpx2.Client) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """A grid with two of its four trials done, a search with one of three; nothing runs when this returns.

    The trials that are done give the same weights as the first training, so the archive has these once.
    """
    search = {
        "name": "etas",
        "base": SHORT,
        "search": {
            "optimizer.eta": {"type": "categorical", "choices": [0.1, 0.5]},
            "limits.max_attempts": {"type": "int", "low": 2, "high": 9},
        },
        "trials": 3,
        "parallel": 1,
        "seed": 0,
    }
    grid = {
        "name": "seeds",
        "base": SHORT | {"priority": 5},
        "grid": {"seed": [0, 1], "limits.max_attempts": [3, 4]},
        "labels": {"study": "upgrade"},
    }
    searched = reading.post(http, "/v1/sweeps", search, expect=201)["id"]
    while not (trials := reading.listed(http, f"/v1/sweeps/{searched}/trials")) or not trials[0]["job_id"]:
        pass
    reading.wait_job(http, trials[0]["job_id"], "running")
    gridded = reading.post(http, "/v1/sweeps", grid, expect=201, key="upgrade-grid")["id"]
    second = reading.listed(http, f"/v1/sweeps/{gridded}/trials")[1]["job_id"]
    reading.wait_job(http, second, "running")
    worker = reading.get(http, "/v1/workers")["data"][0]["id"]
    reading.post(http, f"/v1/workers/{worker}/drain", {"mode": "finish"}, expect=202)
    reading.wait_job(http, second)
    done = {"done": 1, "waiting": 1, "total": 3}, {"done": 2, "waiting": 2, "total": 4}
    for sweep, parts in zip((searched, gridded), done, strict=True):
        wanted = {"running": 0, "failed": 0, "pruned": 0} | parts
        while (progress := reading.get(http, f"/v1/sweeps/{sweep}")["progress"]) != wanted:
            assert progress["done"] <= parts["done"], progress
    return {"search": searched, "grid": gridded}, [
        {"path": "/v1/sweeps", "key": "upgrade-grid", "body": grid, "id": gridded}
    ]


def predictions(http: httpx2.Client, models: dict[str, Any]) -> dict[str, Any]:
    return {id: reading.predict(http, id, image()) for id in sorted(models)}


def image() -> list[list[float]]:
    """16×16, a bright bar on a dark ground."""
    return [[1.0 if 6 <= column <= 9 and 2 <= row <= 13 else 0.0 for column in range(16)] for row in range(16)]


def build(services: Services) -> dict[str, Any]:
    """Everything up to the stop; what is found then, under `before`."""
    upload = small_dataset()
    with services.running() as http:
        roles, requests = finished_jobs(http, upload)
        roles["paused"] = pause(http, LONG | {"seed": 3})
    with services.running(**PORTABLE) as http:
        # Without momentum a checkpoint is half as large.
        plain = {"momentum": 0.0, "nesterov": False}
        own = {"dataset": {"name": "shades"}, "batch_size": 8, "seed": 4, "optimizer": plain}
        roles["paused_portable"] = pause(http, LONG | own)
    with services.running() as http:
        sweeps, more = half_done_sweeps(http)
        before = reading.everything(http)
        found = {"before": before, "image": image(), "predictions": predictions(http, before["models"])}
    versions = {name: version(name) for name in ("torch", "optuna")}
    return {
        "commit": COMMIT,
        "versions": versions,
        "roles": roles | sweeps,
        "requests": requests + more,
        "upload": upload.hex(),
        **found,
    }


def go_on(services: Services, roles: dict[str, str]) -> dict[str, Any]:
    """What the same version makes of it: the paused trainings resumed, the sweeps finished."""
    with services.running() as http:
        for role in ("paused", "paused_portable"):
            reading.post(http, f"/v1/jobs/{roles[role]}/resume", expect=202)
        for role in ("paused", "paused_portable"):
            ended(http, roles[role], "succeeded")
        for role in ("grid", "search"):
            assert reading.wait_sweep(http, roles[role])["status"] == "succeeded"
        found: dict[str, Any] = reading.everything(http)
        return found


def copy_store(data: Path, database_url: str, target: Path) -> None:
    """Every file of the store that the database names."""
    database = importlib.import_module("jobs.database").Database(database_url)
    queries = importlib.import_module("jobs.backup").BLOBS.values()
    with database.engine.connect() as connection:
        named = {row[0] for query in queries for row in connection.execute(sqlalchemy.text(query))}
        left = connection.execute(sqlalchemy.text("SELECT hostname FROM workers")).all()
        assert not left, f"workers that were stopped are still listed: {left}"
    database.dispose()
    for sha256 in sorted(named):
        path = Path("artifacts", sha256[:2], sha256)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / path, target / path)


def make_sqlite(folder: Path, target: Path) -> None:
    if not (target / RECORD).exists():
        data = folder / "sqlite"
        record = build(Services(data, None))
        with closing(sqlite3.connect(data / "adder.db")) as database:
            database.execute("VACUUM")  # free pages hold deleted rows, such as the workers' with the host's name
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(data / "adder.db", target)
        copy_store(data, f"sqlite:///{data / 'adder.db'}", target)
        write(target, record)
    copy = copy_of(target, folder / "sqlite-goes-on")
    write(target, read(target) | {"expected": go_on(Services(copy, None), read(target)["roles"])})


def make_postgresql(folder: Path, target: Path, install: Path) -> None:
    with postgres(install) as server:
        if not (target / RECORD).exists():
            data, url = folder / "postgresql", server.new_database()
            record = build(Services(data, url))
            (target / "adder.sql").write_text(dump(install, url))
            copy_store(data, url, target)
            write(target, record)
        copy, url = copy_of(target, folder / "postgresql-goes-on"), server.new_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute((target / "adder.sql").read_bytes())
        write(target, read(target) | {"expected": go_on(Services(copy, url), read(target)["roles"])})


def dump(install: Path, url: str) -> str:
    """The database as SQL that any client can run: without psql's own commands."""
    options = ("--inserts", "--rows-per-insert=500", "--no-owner", "--no-privileges")
    command: list[str | Path] = [install / "bin/pg_dump", *options, "--dbname", url]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\\(?:un)?restrict \w+\n", "", found, flags=re.MULTILINE)


def copy_of(target: Path, folder: Path) -> Path:
    """A data folder that may go on while the archived one stays."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(target, folder, ignore=shutil.ignore_patterns(RECORD, "adder.sql")))


@contextmanager
def postgres(install: Path) -> Iterator[Any]:
    """A server of its own."""
    servers = importlib.import_module("benchmarks.postgres")
    runner = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder, home = Path(name), Path(name, "home")
        folder.chmod(0o755)
        home.mkdir()
        if runner:
            os.chown(home, pwd.getpwnam(runner).pw_uid, -1)
        subprocess.run(
            [install / "bin/initdb", "-D", home / "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8",
             "--locale=C"],
            user=runner, cwd="/", check=True, capture_output=True,
        )  # fmt: skip
        server = servers.Postgres(folder, install / "bin", runner, ())
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGINT)


def write(target: Path, record: dict[str, Any]) -> None:
    (target / RECORD).write_text(json.dumps(record, sort_keys=True))


def read(target: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((target / RECORD).read_text())
    return found


def check(root: Path) -> None:
    """Raises where a file names this machine or a folder of it."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and (found := UNFIT.search(path.read_bytes().decode("latin-1"))):
            text = path.read_bytes().decode("latin-1")
            raise ValueError(f"{path.relative_to(root)}: …{text[max(0, found.start() - 80) : found.end() + 80]!r}")


def pack(root: Path, archive: Path) -> None:
    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in sorted(root.rglob("*"), key=lambda path: (path.name, path)):
            tar.add(path, path.relative_to(root), recursive=False, filter=anonymous)
    archive.write_bytes(lzma.compress(content.getvalue(), filters=FILTERS))


def require_commit() -> None:
    api = Path(importlib.import_module("api").__file__ or "").parent.parent
    git = ["git", "-C", str(api)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    changed = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    if not head.startswith(COMMIT) or changed:
        raise SystemExit(f"{api} is at {head.strip()} with the changes {changed!r}; an unchanged {COMMIT} is needed")
    sys.path.insert(0, str(api))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("/srv/adder-fixture/run"), help="work folder")
    parser.add_argument("--postgres", type=Path, default=Path("/usr/lib/postgresql/15"), help="an installation")
    options = parser.parse_args()
    require_commit()
    root = options.folder / "archive"
    for name in ("sqlite", "postgresql"):
        if not (root / name / RECORD).exists():
            shutil.rmtree(options.folder / name, ignore_errors=True)
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
    with ProcessPoolExecutor(2) as pool:
        both = [
            pool.submit(make_sqlite, options.folder, root / "sqlite"),
            pool.submit(make_postgresql, options.folder, root / "postgresql", options.postgres),
        ]
        for made in both:
            made.result()
    check(root)
    pack(root, options.archive)
    print(f"{options.archive}: {options.archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
