"""Renders the templates of all rooms, with the headers that every page has."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from api.access.acting import ADMITTED
from api.http.prefix import with_prefix
from api.web import formats

# Scripts, styles and data come from here alone, and none of them is inline: a label that says <script> stays text.
# blob: is the preview of an image that was dropped on a model's page.
CSP = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
KEY_FIELD = ' -H "Authorization: Bearer $ADDER_API_KEY"'
"""What a copied curl needs on a server with keys; the command reads the variable itself."""
PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+")
"""An address that is safe in a shell command which people copy. A Host header may hold anything."""
CODE = re.compile(r"`([^`]+)`")
DEFAULT_ADDRESS = "http://127.0.0.1:8000"
ROOMS = ("web", "jobs", "new", "compare", "models", "datasets", "sweeps", "recipes", "access", "webhooks", "workers")
"""Packages of `api` that have a folder `templates`. A template's name is unique among all of them."""
FORMATS = (
    "duration", "ago", "iso", "absolute", "clock", "size", "percent", "number", "operations", "metric", "facts",
    "energy",
    "milliseconds",
)  # fmt: skip
"""Functions of `api.web.formats` that templates use as filters."""
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@cache
def templates() -> Environment:
    """The Jinja environment of the dashboard."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(f"api.{room}") for room in ROOMS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {name: getattr(formats, name) for name in FORMATS}
    environment.filters["pretty"] = _pretty
    environment.filters["coded"] = _coded
    environment.tests["a_number"] = formats.is_number
    return environment


def _coded(text: str) -> Markup:
    """A sentence whose names in backticks are code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def page(request: Request, template: str, context: dict[str, Any], status: int = HTTPStatus.OK) -> HTMLResponse:
    """The page that a template makes of `context`."""
    base = str(request.base_url).rstrip("/")
    if not PLAIN_ADDRESS.fullmatch(base):
        base = DEFAULT_ADDRESS
    settings = request.app.state.service.settings
    prefix = settings.path_prefix
    acting = request.scope.get(ADMITTED) if settings.needs_keys else None
    who = None if acting is None else acting.caller
    key = "" if who is None else KEY_FIELD
    text = templates().get_template(template).render(base_url=base + prefix, who=who, key_field=key, **context)
    return HTMLResponse(with_prefix(text, prefix), status, HEADERS)


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    """A page that tells a person what went wrong: a title, a sentence and the way back."""
    return page(request, "error.html", {"status": status, "title": title, "detail": detail, "section": ""}, status)
