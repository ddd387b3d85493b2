"""Reads everything that a service tells over HTTP. Imports nothing of the product, so every version can be read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from typing import Any

import httpx2

Document = dict[str, Any]

FINAL = ("succeeded", "failed", "cancelled")
UNFINISHED_SWEEP = ("running", "cancelling")
SECONDS = 1500.0
"""How long anything may take: other work on the machine must not fail a test, which has a limit of its own."""
SPEED = "images_per_second"
"""The one metric that depends on how busy the machine is."""


def connect(url: str) -> httpx2.Client:
    """An HTTP client for the service at `url`."""
    return httpx2.Client(base_url=url, trust_env=False, timeout=60)


def get(http: httpx2.Client, path: str, **query: Any) -> Any:
    """The JSON document at `path`. Raises AssertionError with the answer's text unless it is 200."""
    answer = http.get(path, params=query)
    assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
    return answer.json()


def post(http: httpx2.Client, path: str, body: object = None, *, expect: int, key: str | None = None) -> Any:
    """The JSON answer to a POST; `key` is sent as Idempotency-Key. Raises AssertionError on another status."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = http.post(path, headers=headers, json=body)
    assert answer.status_code == expect, f"POST {path}: {answer.status_code} {answer.text}"
    return answer.json()


def upload_dataset(http: httpx2.Client, name: str, file: bytes, *, expect: int) -> Document:
    """The dataset that an upload of `file` makes (201), or has made before (200)."""
    files = {"file": ("upload.npz", file, "application/octet-stream")}
    answer = http.post("/v1/datasets", data={"name": name, "options": '{"size": [32, 32]}'}, files=files)
    assert answer.status_code == expect, f"upload: {answer.status_code} {answer.text}"
    found: Document = answer.json()
    return found


def predict(http: httpx2.Client, model_id: str, image: list[Any]) -> Document:
    """What the model says of one image, an array (height, width) of 0 to 1."""
    found: Document = post(http, f"/v1/models/{model_id}/predict", {"array": image}, expect=200)
    return found


def listed(http: httpx2.Client, path: str, **query: Any) -> list[Any]:
    """Every item of a paged list."""
    found: list[Any] = []
    after: dict[str, Any] = {}
    while True:
        page = get(http, path, **query, **after)
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"after": page["next"]}


def content(http: httpx2.Client, path: str) -> str:
    """The sha256 of the bytes at `path`."""
    answer = http.get(path)
    assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
    return hashlib.sha256(answer.content).hexdigest()


def job(http: httpx2.Client, job_id: str) -> Document:
    """All that the service tells of one job."""
    path = f"/v1/jobs/{job_id}"
    log = http.get(f"{path}/logs")
    assert log.status_code == 200, log.text
    artifacts = get(http, f"{path}/artifacts")["data"]
    return {
        "job": get(http, path),
        "metrics": listed(http, f"{path}/metrics", limit=10_000),
        "events": listed(http, f"{path}/events", limit=100),
        "attempts": get(http, f"{path}/attempts")["data"],
        "log": log.text,
        "artifacts": artifacts,
        "contents": {a["name"]: content(http, f"{path}/artifacts/{a['name']}") for a in artifacts},
    }


def model(http: httpx2.Client, model_id: str) -> Document:
    """All that the service tells of one model."""
    path = f"/v1/models/{model_id}"
    return {"model": get(http, path), "content": content(http, f"{path}/download")}


def sweep(http: httpx2.Client, sweep_id: str) -> Document:
    """All that the service tells of one sweep."""
    path = f"/v1/sweeps/{sweep_id}"
    return {
        "sweep": get(http, path),
        "trials": listed(http, f"{path}/trials", limit=100),
        "table": get(http, f"{path}/table"),
    }


def everything(http: httpx2.Client) -> dict[str, dict[str, Document]]:
    """All jobs, models, sweeps and users' datasets by id, with all that belongs to them."""
    own = [dataset for dataset in listed(http, "/v1/datasets", limit=100) if dataset["version"] is not None]
    return {
        "jobs": {one["id"]: job(http, one["id"]) for one in listed(http, "/v1/jobs", limit=100)},
        "models": {one["id"]: model(http, one["id"]) for one in listed(http, "/v1/models", limit=100)},
        "sweeps": {one["id"]: sweep(http, one["id"]) for one in listed(http, "/v1/sweeps", limit=100)},
        "datasets": {one["id"]: one for one in own},
    }


def wait_job(http: httpx2.Client, job_id: str, *statuses: str, seconds: float = SECONDS) -> Document:
    """The job once its status is one of these; by default, once it has ended."""
    return _wait(http, f"/v1/jobs/{job_id}", statuses or FINAL, seconds)


def wait_sweep(http: httpx2.Client, sweep_id: str, seconds: float = SECONDS) -> Document:
    """The sweep once it has ended."""
    return _wait(http, f"/v1/sweeps/{sweep_id}", FINAL, seconds)


def _wait(http: httpx2.Client, path: str, statuses: Collection[str], seconds: float) -> Document:
    deadline = time.monotonic() + seconds
    while True:
        found: Document = get(http, path)
        if found["status"] in statuses:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is still {found['status']} after {seconds:g} s, not {' or '.join(statuses)}")
        time.sleep(0.2)


def curve(points: list[Any]) -> list[list[Any]]:
    """`[name, step, epoch, value]` of every point that a second run of the same training gives too."""
    return sorted([p["name"], p["step"], p["epoch"], p["value"]] for p in points if p["name"] != SPEED)
