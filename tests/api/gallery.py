"""Every page of the service with something on it, for tests and pictures that look at all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fastapi.routing import APIRoute

from api.app import PAGES
from jobs.access import keys
from jobs.access.roles import Role
from jobs.access.scope import DEFAULT
from jobs.sweeps import driver
from jobs.system_metrics import Sample, stored
from tests.api.access.conftest import Access, Party
from tests.api.attempt import MANIFEST, Worker, model_file
from tests.api.stand_in import StandIn
from tests.support.datasets import make_ready
from tests.support.specs import train_body
from tests.support.uploads import folders, zipped

NO_PAGES = frozenset({"/static/{name}", "/jobs.csv", "/jobs"})
"""Addresses that are read and show no page of their own."""

ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "/": ("/", "/?col=spec.optimizer.eta&col=result.val/loss", "/?group=study", "/?status=paused", "/?status=nonsense"),
    "/jobs/{job_id}": ("/jobs/{running}", "/jobs/{failed}", "/jobs/{evaluation}", "/jobs/{analysis}", "/jobs/{job}"),
    "/new": (
        "/new",
        "/new?kind=quantize",
        "/new?from={job}",
        "/new?model.arch=lenet5_bn&dataset.name=digits&epochs=no",
    ),
    "/models": ("/models",),
    "/models/{model_id}": ("/models/{model}", "/models/{imported}", "/models/nonsense"),
    "/datasets": ("/datasets",),
    "/recipes": ("/recipes",),
    "/sweeps": ("/sweeps",),
    "/sweeps/{sweep_id}": ("/sweeps/{sweep}",),
    "/plot": ("/plot", "/plot?x=spec.optimizer.eta&log=x", "/plot?x=measured.latency_ms"),
    "/compare": ("/compare?job={job}&job={failed}",),
    "/sign-in": ("/sign-in",),
    "/keys": ("/keys",),
    "/audit": ("/audit",),
    "/usage": ("/usage",),
    "/webhooks": ("/webhooks",),
    "/webhooks/{webhook_id}": ("/webhooks/{webhook}",),
    "/workers": ("/workers",),
    "/docs": ("/docs",),
    "/nowhere": ("/nowhere",),
}
"""By the path of a route: what a browser opens there. Names in braces are ids of what `filled` makes."""


def routes_of_pages() -> Iterator[str]:
    """The paths of all routes that show a page."""
    for router in PAGES:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in route.methods and route.path not in NO_PAGES:
                yield route.path


def operator(access: Access) -> Party:
    """The default project, in which the stand-in of a worker works, with a key of every role."""
    party = Party(access.site, DEFAULT, "default")
    with access.database.write(DEFAULT) as session:
        for role in Role:
            _, party.keys[role] = keys.create(session, str(role), role, None, by=None)
    return party


def filled(access: Access, party: Party, worker: StandIn) -> dict[str, str]:
    """Makes something for every page, by way of the API and of a stand-in for the worker.

    Returns:
        The ids, by the names that `ADDRESSES` has.
    """
    ids: dict[str, str] = {}
    with party.client("operator") as api:

        def post(path: str, **body: Any) -> Any:
            answer = api.post(path, **body)
            assert answer.is_success, answer.text
            return answer.json()

        def training(name: str, **changes: Any) -> Any:
            ids[name] = post("/v1/jobs", json=train_body(labels={"study": "first"}, **changes))["id"]
            return worker.claim()

        samples = [Sample(1_763_694_000_000 + 60_000 * n, 1.7 - n % 7 / 10, (40 + n % 9) << 25) for n in range(120)]
        worker.heartbeat(samples=stored(samples))
        claim = training("job")
        for epoch in range(1, 4):
            worker.epoch(claim, epoch, 3)
        ids["model"] = worker.publish(claim)
        worker.succeed(claim, **{"val/loss": 0.2})
        api.patch(f"/v1/jobs/{ids['job']}", json={"name": "first", "notes": "A note.", "starred": True})
        api.patch(f"/v1/models/{ids['model']}", json={"name": "best", "notes": "A note.", "labels": {"for": "demo"}})
        api.put(f"/v1/models/{ids['model']}/aliases/champion")
        claim = training("failed", model={"method": "conv"})
        worker.epoch(claim, 1)
        worker.fail(claim, "diverged", "The loss is not a number.", "step 11  loss nan", "curves.png")
        weights = {"weights": ("model.safetensors", model_file(MANIFEST))}
        ids["imported"] = post("/v1/models", files=weights)["id"]
        body = {"kind": "evaluate", "model_id": ids["imported"], "dataset": {"name": "digits"}}
        ids["evaluation"] = post("/v1/jobs", json=body)["id"]
        matrix = [[30 if i == k else int((i * k) % 7 == 3) for k in range(10)] for i in range(10)]
        worker.succeed(worker.claim(), accuracy=0.97, confusion_matrix=matrix)
        body = {
            "kind": "analyze",
            "recipe": "mnist",
            "dataset": {"name": "digits"},
            "epochs": 1,
            "archs": ["lenet5_bn"],
        }
        ids["analysis"] = post("/v1/jobs", json=body)["id"]
        table = {"columns": [{"title": "network", "kind": "text"}, {"title": "accuracy", "kind": "share"}]}
        verdict = {"verdict": "It holds.", "holds": True, "reasons": ["A reason."], "caption": "Accuracy of both."}
        worker.succeed(worker.claim(), **verdict, **table, cells=[["adder", "96.1 %"], ["conv", "96.4 %"]])
        hook = {"name": "chat", "url": "https://hooks.example/x"}
        ids["webhook"] = post("/v1/webhooks", json=hook)["id"]
        post(f"/v1/webhooks/{ids['webhook']}/test")
        files = {"file": ("a.zip", zipped(folders("a", "b")))}
        dataset = post("/v1/datasets", data={"name": "leaves"}, files=files)["id"]
        make_ready(Worker(access.database, worker.store), dataset)
        sweep = {"name": "eta", "base": train_body(), "grid": {"optimizer.eta": [0.05, 0.1]}}
        ids["sweep"] = post("/v1/sweeps", json=sweep)["id"]
        claim = worker.claim()
        worker.epoch(claim, 10)
        worker.succeed(claim)
        with access.database.write(DEFAULT) as session:
            driver.step(session, ids["sweep"], driver.Rules.of(access.site.settings))
        claim = training("running", priority=5)
        worker.epoch(claim, 4)
        worker.sampled(claim, [replace(one, time=5000 * n) for n, one in enumerate(samples)])
    return ids
