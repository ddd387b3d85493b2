"""`python -m tests.docs.calls`: writes docs/rest-reference.md, every call of the REST API, from its own description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.access.operations import CALLS
from api.app import create_app
from jobs.settings import Settings
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "rest-reference.md"
HEAD = """\
# REST reference

Every call with the role that it needs where keys are on ([access.md](access.md)), made from the API's description by
`python -m tests.docs.calls`; `make docs` compares it. Parameters, bodies, answers and errors of each: `/docs` and
`/openapi.json` of a running server. A walk through them: [rest.md](rest.md).
"""


def page() -> str:
    """The whole page."""
    groups: dict[str, list[str]] = {}
    for path, methods in _document()["paths"].items():
        for method, operation in methods.items():
            group = (operation.get("tags") or ["service"])[0]
            groups.setdefault(group, []).append(_row(f"{method.upper()} {path}", operation))
    parts = [HEAD]
    for group, rows in groups.items():
        parts.append(f"\n## {group.capitalize()}\n\n| call | does | role |\n|---|---|---|\n")
        parts += rows
    return "".join(parts)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = create_app(Settings(data_dir=Path("unused"))).openapi()
    return document


def _row(call: str, operation: dict[str, Any]) -> str:
    first = (operation.get("description") or operation.get("summary") or "").split("\n\n")[0]
    does = " ".join(first.split()).replace("|", "\\|")
    role = CALLS.get(call)
    return f"| `{call}` | {does} | {role.value if role else 'everybody'} |\n"


def problems() -> Iterator[str]:
    """How docs/rest-reference.md differs from the API."""
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        yield "it is not what `python -m tests.docs.calls` writes"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
