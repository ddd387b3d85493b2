"""Requests that shall cost much more than they look: numbers, lists and shapes of a size that the sender chooses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from jobs.settings import GIB, MIB
from tests.api.attempt import MANIFEST, model_file
from tests.api.models.test_costs import HEADERS, MANIFESTS, nested, resnet
from tests.api.models.test_predict_bodies import BODIES
from tests.attack.line import Seen, line
from tests.attack.service import Service, spec

SILENT_SECONDS = 2.0
"""How long the API may keep others waiting. What did not hold took 5 to 100 s."""


@line(1, "safetensors headers of huge integers")
def headers(service: Service) -> Seen:
    with service.answering() as longest:
        statuses = {service.api.post("/v1/models", files={"weights": body}).status_code for body in HEADERS.values()}
    return Seen(statuses == {422} and longest[0] < SILENT_SECONDS, f"{statuses}, /healthz within {longest[0]:.2f} s")


@line(2, "manifests that cannot be sent again")
def manifests(service: Service) -> Seen:
    changes = [one for one, _ in MANIFESTS.values()] + [{"config": nested(300)}]
    statuses = {
        service.api.post("/v1/models", files={"weights": model_file(MANIFEST | one)}).status_code for one in changes
    }
    after = [service.api.get(path).status_code for path in ("/v1/models", "/models")]
    return Seen(statuses == {422} and after == [200, 200], f"{statuses}; listing and page {after}")


@line(3, "a model whose images cost too much")
def images(service: Service) -> Seen:
    status = service.api.post("/v1/models", files={"weights": resnet(2500)}).status_code
    return Seen(status == 422, str(status))


@line(4, "sweeps of thousands of fields")
def sweeps(service: Service) -> Seen:
    wide = {"base": spec(), "grid": {f"labels.a{n}": ["x", "y"] for n in range(4500)}}
    with service.answering() as longest:
        statuses = [
            service.api.post("/v1/sweeps", json=wide, params=params).status_code
            for params in ({}, {"validate_only": "true"})
        ]
    return Seen(statuses == [422, 422] and longest[0] < SILENT_SECONDS, f"{statuses}, /healthz {longest[0]:.2f} s")


@line(5, "bodies of a prediction that are expensive to parse")
def bodies(service: Service) -> Seen:
    path, kind = f"/v1/models/{service.model}/predict", {"Content-Type": "application/json"}
    with service.answering() as longest:
        statuses = {service.api.post(path, content=body, headers=kind).status_code for body, *_ in BODIES.values()}
    good = all(400 <= status < 500 or status == 503 for status in statuses)
    return Seen(good and longest[0] < SILENT_SECONDS, f"{sorted(statuses)}, /healthz within {longest[0]:.2f} s")


@line(9, "24 large images at once", long=True)
def many_images(service: Service) -> Seen:
    from io import BytesIO

    from PIL import Image

    sink = BytesIO()
    Image.new("L", (4000, 4000)).save(sink, "PNG")
    path, kind = f"/v1/models/{service.model}/predict", {"Content-Type": "image/png"}

    def send(_: int) -> int:
        return service.api.post(path, content=sink.getvalue(), headers=kind).status_code

    with ThreadPoolExecutor(24) as pool:
        statuses = set(pool.map(send, range(24)))
    used = service.memory("worker.inference")
    return Seen(statuses <= {200, 422, 429, 503} and used < GIB, f"{sorted(statuses)}, inference {used / MIB:.0f} MiB")


@line(15, "manifests of a megabyte in listings")
def listings(service: Service) -> Seen:
    statuses = set()
    for number in range(3):
        changed = MANIFEST | {"config": {"note": "x" * 900_000, "number": number}}
        statuses.add(service.api.post("/v1/models", files={"weights": model_file(changed)}).status_code)
    size = len(service.api.get("/v1/models", headers={"Accept-Encoding": "identity"}).content)
    return Seen(size < MIB, f"{statuses}; {size:,} bytes")
