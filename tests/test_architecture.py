"""The folders import only what the design allows, and the light ones stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("api", "worker", "addercore", "jobs", "adderclient", "launcher", "migrations", "benchmarks", "tests")
ALLOWED = {
    "api": {"api", "jobs", "addercore.arch", "addercore.config", "addercore.errors"},
    "jobs": {"jobs", "addercore.arch", "addercore.config", "addercore.errors", "addercore.files"},
    "worker": {"worker", "jobs", "addercore"},
    "addercore": {"addercore"},
    "adderclient": {"adderclient", "addercore.arch", "addercore.config"},  # `adder count`, imported when it runs
    "launcher": {"launcher", "adderclient"},  # it starts the servers as processes
    "migrations": {"migrations", "jobs"},
    "benchmarks": {"benchmarks", "addercore", "adderclient", "jobs", "worker"},
}
HEAVY = ("torch", "numpy", "sklearn", "matplotlib", "optuna")


def imports_of(path: Path) -> set[str]:
    """Absolute names of the project's modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in FOLDERS}


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_follow_the_design(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports_of(path):
            assert any(name == allowed or name.startswith(allowed + ".") for allowed in ALLOWED[folder]), (
                f"{path.relative_to(ROOT)} imports {name}; {folder} may import {sorted(ALLOWED[folder])}"
            )


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    ["api.app", "worker.app", "worker.supervisor", "jobs.spec", "jobs.migrate", "addercore.arch", "addercore.config"],
)
def test_only_the_training_process_loads_torch(module: str) -> None:
    assert loaded_by(module).isdisjoint(HEAVY)


def test_the_client_loads_nothing_of_the_server() -> None:
    foreign = {"torch", "numpy", "api", "worker", "jobs", "addercore", "sqlalchemy", "celery", "fastapi"}
    assert loaded_by("adderclient.command").isdisjoint(foreign | {"launcher"})
    assert loaded_by("launcher.commands").isdisjoint(foreign)
