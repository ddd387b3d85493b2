"""Parts of the OpenAPI document that several routes repeat."""

from __future__ import annotations

from typing import Any


def location(of: str) -> dict[str, Any]:
    """A response that has a Location header (RFC 9110, 10.2.2) with the path of what was created."""
    return {"headers": {"Location": {"schema": {"type": "string"}, "description": f"Path of the {of}."}}}


def json_body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its JSON body itself.

    Args:
        schema: of the body.
        examples: bodies by what they show.
    """
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}}}
