"""A call holds one database session at a time: with two, as many calls as there are connections wait for each other."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from sqlalchemy import Engine, event

from tests.api.attempt import Worker
from tests.api.conftest import Running
from tests.support.specs import train_body

PAGES = ("/", "/models", "/datasets", "/sweeps", "/recipes")


@contextmanager
def sessions_of_threads(engine: Engine) -> Iterator[Counter[int]]:
    """Counts the connections that each thread holds; the greatest number of each is what is yielded."""
    held: Counter[int] = Counter()
    most: Counter[int] = Counter()

    def out(*_call: object) -> None:
        thread = threading.get_ident()
        held[thread] += 1
        most[thread] = max(most[thread], held[thread])

    def back(*_call: object) -> None:
        held[threading.get_ident()] -= 1

    event.listen(engine, "checkout", out)
    event.listen(engine, "checkin", back)
    try:
        yield most
    finally:
        event.remove(engine, "checkout", out)
        event.remove(engine, "checkin", back)


def test_no_call_opens_a_session_inside_another(lite: Running, lite_api: httpx2.Client, lite_worker: Worker) -> None:
    job = lite_api.post("/v1/jobs", json=train_body()).json()["id"]
    sweep = lite_api.post("/v1/sweeps", json={"base": train_body(), "grid": {"seed": [0, 1]}}).json()["id"]
    claim = lite_worker.claim()
    lite_worker.metrics(claim, 1, 20)
    model = lite_worker.publish(claim)
    lite_worker.finish(claim)
    ids = {"jobs": job, "sweeps": sweep, "models": model, "datasets": "digits"}
    document = lite_api.get("/openapi.json").json()
    paths = [path for path, methods in document["paths"].items() if "get" in methods and not path.endswith("/stream")]
    for room, id in ids.items():
        paths = [path.replace(f"/{room}/{{id}}", f"/{room}/{id}") for path in (*paths, f"/{room}/{{id}}")]
    paths += [*PAGES, f"/v1/jobs/{job}/logs?tail=3", f"/v1/jobs/{job}/logs?follow=true"]
    engine = lite.server.config.app.state.service.database.engine  # type: ignore[union-attr]
    with sessions_of_threads(engine) as most:
        answers = {path: lite_api.get(path).status_code for path in paths}
    assert {path: status for path, status in answers.items() if status >= 500 and path != "/readyz"} == {}
    assert most, "nothing asked the database"
    assert set(most.values()) == {1}
