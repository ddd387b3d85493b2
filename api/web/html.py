"""Templates to responses, with the headers that every page carries."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from api.web import formats

# Scripts, styles and data come from here alone, and none of them is inline: a label that says <script> stays text.
# blob: is the preview of an image that was dropped on a model's page.
CSP = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+")
"""What may stand unquoted in a command that people copy; a Host header may hold anything."""
DEFAULT_ADDRESS = "http://127.0.0.1:8000"
ROOMS = ("web", "jobs", "compare", "models", "datasets", "sweeps", "recipes")
"""Packages of `api` with a folder of templates; the names of templates are unique among them."""
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@cache
def templates() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(f"api.{room}") for room in ROOMS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        name: getattr(formats, name)
        for name in ("duration", "ago", "iso", "absolute", "clock", "size", "percent", "number", "operations")
    }
    environment.filters["pretty"] = pretty
    environment.tests["a_number"] = formats.is_number
    return environment


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def page(request: Request, template: str, context: dict[str, Any], status: int = HTTPStatus.OK) -> HTMLResponse:
    base = str(request.base_url).rstrip("/")
    if not PLAIN_ADDRESS.fullmatch(base):
        base = DEFAULT_ADDRESS
    text = templates().get_template(template).render(base_url=base, **context)
    return HTMLResponse(text, status, HEADERS)


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    """What went wrong, for a person: the title, one sentence and the way back."""
    return page(request, "error.html", {"status": status, "title": title, "detail": detail, "section": ""}, status)
