"""The OpenAPI document of the real API, and whether an answer fits it."""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from api.app import create_app
from jobs.settings import Settings


@cache
def document() -> dict[str, Any]:
    """The document; no server runs for it."""
    found = create_app(Settings(data_dir=Path(tempfile.gettempdir()) / "no-adder")).openapi()
    for name in ("Job", "Validation"):  # the stand-in fills in no defaults of specs
        found["components"]["schemas"][name]["properties"]["spec"] = {"type": "object"}
    return found


def schemas() -> dict[str, Any]:
    """All named schemas."""
    found: dict[str, Any] = document()["components"]["schemas"]
    return found


def mistakes(method: str, path: str, status: int, body: Any) -> list[str]:
    """Where a JSON answer does not fit the document; an operation or status that it does not have is a mistake."""
    schema = _schema(method.lower(), path, status)
    if schema is None:
        return [f"the document has no JSON answer {status} to {method} {path}"]
    return [
        f"{method} {path}: {error.instance_path}: {error.message}" for error in _validator(schema).iter_errors(body)
    ]


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schema) | {"components": document()["components"]})


def _schema(method: str, path: str, status: int) -> str | None:
    """The schema of an answer, as JSON."""
    for template, operations in document()["paths"].items():
        pattern = re.sub(r"\\{[^/]+?\\}", "[^/]+", re.escape(template))
        if method in operations and re.fullmatch(pattern, path):
            content = operations[method]["responses"].get(str(status), {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            return None if schema is None else json.dumps(schema)
    return None
