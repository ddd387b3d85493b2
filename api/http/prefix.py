"""A path below which a proxy shows the service (ADDER_PATH_PREFIX). Routes and templates know nothing of it."""

from __future__ import annotations

import re

from starlette.types import Scope

_LINK = re.compile(r'\b(href|src|action|data-path|data-then|data-edit)="/(?!/)')


def without_prefix(scope: Scope, prefix: str) -> None:
    """Takes the prefix off the path of a request, where the proxy has left it there."""
    path = scope["path"]
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        scope["path"] = path[len(prefix) :] or "/"
        scope["raw_path"] = scope.get("raw_path", b"")[len(prefix) :] or b"/"


def with_prefix(html: str, prefix: str) -> str:
    """A page whose links begin with the prefix.

    Text of users cannot be taken for a link: a template escapes its quotation marks.
    """
    return _LINK.sub(rf'\1="{prefix}/', html) if prefix else html
