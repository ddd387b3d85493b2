"""Who may do what: one row for each call and each page. The routes read this table, and so does their test.

A call without a row is refused to everybody (and a test fails): a new route has to be entered here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobs.access.roles import Role

OPEN: Final = None
"""Needs no key."""
VIEWER, MEMBER, ADMIN, OPERATOR = Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OPERATOR

CALLS: Final[Mapping[str, Role | None]] = {
    # jobs
    "POST /v1/jobs": MEMBER,
    "GET /v1/jobs": VIEWER,
    "GET /v1/jobs/{id}": VIEWER,
    "PATCH /v1/jobs/{id}": MEMBER,
    "POST /v1/jobs/{id}/cancel": MEMBER,
    "POST /v1/jobs/{id}/pause": MEMBER,
    "POST /v1/jobs/{id}/resume": MEMBER,
    "POST /v1/jobs/{id}/retry": MEMBER,
    "POST /v1/jobs/{id}/continue": MEMBER,
    "DELETE /v1/jobs/{id}": MEMBER,
    "GET /v1/jobs/{id}/metrics": VIEWER,
    "GET /v1/jobs/{id}/events": VIEWER,
    "GET /v1/jobs/{id}/attempts": VIEWER,
    "GET /v1/jobs/{id}/logs": VIEWER,
    "GET /v1/jobs/{id}/stream": VIEWER,
    "GET /v1/jobs/{id}/artifacts": VIEWER,
    "GET /v1/jobs/{id}/artifacts/{name}": VIEWER,
    "GET /v1/compare": VIEWER,
    "GET /v1/resolve": VIEWER,
    # models
    "GET /v1/models": VIEWER,
    "POST /v1/models": MEMBER,
    "GET /v1/models/{id}": VIEWER,
    "PATCH /v1/models/{id}": MEMBER,
    "DELETE /v1/models/{id}": MEMBER,
    "PUT /v1/models/{id}/aliases/{alias}": MEMBER,
    "DELETE /v1/models/{id}/aliases/{alias}": MEMBER,
    "GET /v1/models/{id}/download": VIEWER,
    "POST /v1/models/{id}/predict": MEMBER,
    # datasets
    "GET /v1/datasets": VIEWER,
    "POST /v1/datasets": MEMBER,
    "GET /v1/datasets/{id}": VIEWER,
    "GET /v1/datasets/{id}/preview": VIEWER,
    "DELETE /v1/datasets/{id}": MEMBER,
    # sweeps
    "POST /v1/sweeps": MEMBER,
    "GET /v1/sweeps": VIEWER,
    "GET /v1/sweeps/{id}": VIEWER,
    "GET /v1/sweeps/{id}/trials": VIEWER,
    "GET /v1/sweeps/{id}/table": VIEWER,
    "GET /v1/sweeps/{id}/figure.svg": VIEWER,
    "POST /v1/sweeps/{id}/cancel": MEMBER,
    "DELETE /v1/sweeps/{id}": MEMBER,
    # recipes
    "GET /v1/recipes": VIEWER,
    "GET /v1/recipes/{name}": VIEWER,
    # access
    "GET /v1/me": VIEWER,
    "POST /v1/keys": ADMIN,
    "GET /v1/keys": ADMIN,
    "DELETE /v1/keys/{id}": ADMIN,
    "POST /v1/keys/{id}/rotate": ADMIN,
    "POST /v1/projects": OPERATOR,
    "GET /v1/projects": OPERATOR,
    "GET /v1/projects/{id}": OPERATOR,
    "PATCH /v1/projects/{id}": OPERATOR,
    "DELETE /v1/projects/{id}": OPERATOR,
    "GET /v1/projects/{id}/usage": ADMIN,
    "GET /v1/audit": ADMIN,
    # webhooks
    "POST /v1/webhooks": ADMIN,
    "GET /v1/webhooks": ADMIN,
    "GET /v1/webhooks/{id}": ADMIN,
    "PATCH /v1/webhooks/{id}": ADMIN,
    "DELETE /v1/webhooks/{id}": ADMIN,
    "POST /v1/webhooks/{id}/rotate": ADMIN,
    "POST /v1/webhooks/{id}/test": ADMIN,
    "GET /v1/webhooks/{id}/deliveries": ADMIN,
    "POST /v1/webhooks/{id}/deliveries/{delivery_id}/redeliver": ADMIN,
    # the service
    "GET /v1/workers": OPERATOR,
    "GET /v1/workers/{id}/samples": OPERATOR,
    "POST /v1/workers/{id}/drain": OPERATOR,
    "DELETE /v1/workers/{id}/drain": OPERATOR,
    "GET /v1/system": OPERATOR,
    "GET /metrics": OPERATOR,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
}
PAGES: Final[Mapping[str, Role | None]] = {
    "GET /": VIEWER,
    "GET /jobs": VIEWER,
    "GET /jobs.csv": VIEWER,
    "GET /plot": VIEWER,
    "GET /jobs/{job_id}": VIEWER,
    "GET /new": MEMBER,
    "POST /new": MEMBER,
    "POST /jobs/{job_id}/continue": MEMBER,
    "GET /compare": VIEWER,
    "GET /models": VIEWER,
    "GET /models/{model_id}": VIEWER,
    "GET /datasets": VIEWER,
    "GET /sweeps": VIEWER,
    "GET /sweeps/{sweep_id}": VIEWER,
    "GET /recipes": VIEWER,
    "GET /keys": ADMIN,
    "GET /usage": VIEWER,
    "GET /webhooks": ADMIN,
    "GET /webhooks/{webhook_id}": ADMIN,
    "GET /audit": ADMIN,
    "GET /workers": OPERATOR,
    "GET /sign-in": OPEN,
    "POST /sign-in": OPEN,
    "POST /sign-out": OPEN,
    "GET /static/{name}": OPEN,
    "GET /docs": OPEN,
    "GET /openapi.json": OPEN,
}
ROWS: Final[Mapping[str, Role | None]] = {**CALLS, **PAGES}


def operation(method: str, path: str) -> str:
    """The row's name of a call."""
    return f"{method} {path}"
