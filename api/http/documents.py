"""Parts of the OpenAPI document that several routes repeat."""

from __future__ import annotations

from typing import Any


def location(of: str) -> dict[str, Any]:
    """A response that has a Location header (RFC 9110, 10.2.2) with the path of what was created."""
    return {"headers": {"Location": {"schema": {"type": "string"}, "description": f"Path of the {of}."}}}
