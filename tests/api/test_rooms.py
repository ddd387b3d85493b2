"""The API's rooms: pages and routes stand beside each other, and few modules stand outside of a room."""

from __future__ import annotations

import ast
from pathlib import Path

import api

ROOT = Path(api.__file__).parent
MOST_OUTSIDE = 12
ASSEMBLY = "app.py"
"""The module that puts routes and pages together."""


def imported(path: Path) -> set[str]:
    """Dotted names that a module imports, with the names that it takes from modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


def routers() -> dict[Path, str]:
    """Every module that has a router, by its path."""
    return {path: name_of(path) for path in ROOT.rglob("*.py") if "router = APIRouter(" in path.read_text()}


def test_no_route_or_page_imports_another() -> None:
    names = routers()
    assert len(names) > 15
    for path in names:
        assert imported(path) & (set(names.values()) - {name_of(path)}) == set(), path.name


def test_only_the_assembly_imports_routes_and_pages() -> None:
    names = set(routers().values())
    for path in ROOT.rglob("*.py"):
        if path != ROOT / ASSEMBLY:
            assert imported(path) & names == set(), path


def test_few_modules_stand_outside_of_a_room() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST_OUTSIDE
