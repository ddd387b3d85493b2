"""The OpenAPI document against the server: schemathesis sends what fits it and what does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as generating
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from jobs.settings import Settings
from tests.api.attempt import Worker
from tests.api.conftest import Running
from tests.support.keys import new_key
from tests.support.specs import train_body

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(
    params=["off", pytest.param("on", marks=pytest.mark.long("the same requests with a key"))],
    ids=["without keys", "with keys"],
)
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return settings.model_copy(update={"auth": request.param})


@pytest.fixture
def document(site: Running, worker: Worker) -> Any:
    """The document of a server that knows a finished job, so that some ids lead somewhere."""
    if site.settings.auth == "on":
        site.key = new_key(site.settings)
    with site.client() as api:
        api.post("/v1/jobs", json=train_body())
        api.post("/v1/sweeps", json={"base": train_body(), "grid": {"seed": [0, 1]}})
    claim = worker.claim()
    worker.metrics(claim, 1, 20)
    worker.artifact(claim, "log.txt", b"hello")
    worker.publish(claim)
    worker.finish(claim)
    worker.heartbeat()
    return schemathesis.openapi.from_url(f"{site.url}/openapi.json")


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.long("the same hundreds of requests on the other database")),
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    "mode",
    [
        GenerationMode.POSITIVE,
        pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.long("hundreds of bad requests")),
    ],
)
def test_the_server_keeps_to_its_document(document: Any, site: Running, mode: GenerationMode) -> None:
    tried = 0
    headers = {} if site.key is None else {"Authorization": f"Bearer {site.key}"}
    for found in document.get_all_operations():
        operation = found.ok()

        @generating(
            max_examples=6,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            nonlocal tried
            answer = case.call(timeout=300, headers=headers)
            assert answer.status_code != 500, answer.text  # documented, and yet never right
            case.validate_response(answer, checks=CHECKS)
            tried += 1

        try:
            check()
        except Unsatisfiable:
            continue  # nothing can be wrong with a call that takes nothing
    assert tried > 60
