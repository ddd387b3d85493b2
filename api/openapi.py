"""The OpenAPI document: FastAPI's, completed by job specs, errors that every call may give, and HEAD's absence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.access.operations import ROWS
from api.access.schemas import BODIES
from api.http.problems import ProblemDetails, documented
from api.jobs.schemas import StatusFrame
from api.webhooks.schemas import BODIES as WEBHOOK_BODIES
from api.webhooks.schemas import WebhookEvent
from jobs.keeping import Edit
from jobs.spec import KINDS, Continuation
from jobs.sweeps.spec import SweepSpec

METHODS = frozenset({"get", "post", "delete", "put", "patch"})

DESCRIPTION = """\
Training as a service for adder networks: submit a job, watch it, download the model.

Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. Ids sort by time. Lists come in pages:
`{"data": [...], "has_more": bool, "next": cursor}`. Unknown fields and unknown query parameters are errors.
Every GET also answers HEAD. Requests that change something are refused when they come from another site's page.

Where the server needs keys, a call without a valid one is answered 401 `unauthorized`, and one that the role of the key
does not allow 403 `forbidden`; `x-role` of a call says which role it needs. A key sees its own project alone: an object
of another one is 404 `not_found`, wherever its id stands. Over a limit of the project a call is answered 429
`quota_exceeded`, with the limit's name, value and use, and there is no point in repeating it; over the rate of the key
429 `rate_limited`.
"""

TAGS = [
    {"name": "jobs", "description": "Submit trainings, evaluations and analyses, and steer them."},
    {"name": "history", "description": "Metrics, events, logs, live stream."},
    {"name": "artifacts", "description": "Files of a finished job."},
    {"name": "models", "description": "Trained and imported models."},
    {"name": "datasets", "description": "What can be trained on."},
    {"name": "recipes", "description": "Tables and figures of the paper, each with a spec that computes it."},
    {"name": "sweeps", "description": "Jobs that vary a spec, by a grid or a search."},
    {"name": "compare", "description": "Jobs side by side."},
    {"name": "resolve", "description": "Objects by a part of their ids."},
    {"name": "access", "description": "Keys, projects and their limits, usage, audit."},
    {"name": "webhooks", "description": "Where events of a project are sent, and what became of each."},
    {"name": "workers", "description": "Who runs the jobs."},
    {"name": "system", "description": "The service itself."},
]


DESCRIBED = (*KINDS.values(), Continuation, Edit, SweepSpec, ProblemDetails, *BODIES, *WEBHOOK_BODIES)
"""Bodies and answers that no route names as its model."""


def document_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A replacement for `app.openapi`: the document, made once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    return openapi


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS)
    schemas = document["components"]["schemas"]
    schemas.update(_own_schemas())
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in METHODS:
                _complete(method, operation)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                _protect(f"{method.upper()} {path}", operation)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "adw_…"}}
    return document


def _protect(name: str, operation: dict[str, Any]) -> None:
    """Says who may do it, and what others are answered."""
    role = ROWS.get(name)
    if role is None:
        operation["security"] = []
        return
    operation["security"] = [{"key": []}, {}]
    operation["x-role"] = role
    codes = ["unauthorized", "forbidden", "rate_limited", "not_found"]
    _add(operation["responses"], documented(*codes))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _own_schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [(model, "validation") for model in DESCRIBED],
        ref_template="#/components/schemas/{model}",
    )
    _, sent = models_json_schema(
        [(StatusFrame, "serialization"), (WebhookEvent, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = {**sent["$defs"], **found["$defs"]}
    return schemas


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Adds the errors that any call of this method may give."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    # Any call refuses query parameters that it does not know, and needs the database but for a few.
    codes = ["invalid", "unknown_host", "internal", "database_unavailable"]
    if method != "get":
        codes.append("foreign_origin")
    _add(responses, documented(*codes))
    operation["responses"] = dict(sorted(responses.items()))


def _add(responses: dict[str, Any], more: dict[int | str, dict[str, Any]]) -> None:
    """Adds responses to those that an operation has."""
    for status, response in more.items():
        present = responses.setdefault(str(status), response)
        if present is not response:
            for media_type, content in response["content"].items():
                known = present.setdefault("content", {}).setdefault(media_type, content)
                known["examples"] = {**known.get("examples", {}), **content["examples"]}
