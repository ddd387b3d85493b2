"""Who may import whom, as tables: between folders, inside them, and which libraries stay out of which folders.

Imports inside functions and those for type checkers count like all others: they too make two files one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import circles_in, imports_within, modules_of

ROOT = Path(__file__).parent.parent
FOLDERS = ("api", "worker", "addercore", "jobs", "adderclient", "launcher", "migrations", "benchmarks", "tests")
ALLOWED = {
    "api": {"api", "jobs", "addercore.arch", "addercore.config", "addercore.errors", "addercore.yaml"},
    "jobs": {"jobs", "addercore.arch", "addercore.config", "addercore.errors", "addercore.files"},
    "worker": {"worker", "jobs", "addercore"},
    "addercore": {"addercore"},
    "adderclient": {"adderclient", "addercore.arch", "addercore.config", "addercore.yaml"},  # imported when they run
    "launcher": {"launcher", "adderclient"},  # it starts the servers as processes
    "migrations": {"migrations", "jobs"},
    "benchmarks": {"benchmarks", "addercore", "adderclient", "jobs", "worker"},
}
PURE = ("addercore.arch", "addercore.config", "addercore.errors")
"""What a network is and what a job may say: read by the API, which loads no tensor library."""
LOADING = (
    *PURE,
    *("addercore.data", "addercore.io", "addercore.networks", "addercore.nn", "addercore.ops", "addercore.sample"),
)
"""What loading a model and predicting with it needs."""
RUNTIME = ("addercore.runtime", "addercore.errors", "addercore.files")
"""What runs integer models stands alone: it is used where nothing else of the library is installed."""
ABOVE_LOADING = ("addercore.train", "addercore.analysis", "addercore.quant", "addercore.export", "addercore.latency")

TENSORS = frozenset({"torch", "numpy", "triton", "safetensors", "sklearn", "matplotlib", "onnx", "onnxruntime"})
SERVER = frozenset({"fastapi", "sqlalchemy", "celery", "pydantic", "redis", "uvicorn", "jinja2"})
FORBIDDEN: dict[str, frozenset[str]] = {
    "addercore/arch": TENSORS | SERVER,
    "addercore/config": TENSORS | (SERVER - {"pydantic"}),
    "jobs": TENSORS,
    "api": TENSORS,
    "migrations": TENSORS,
    "adderclient": (TENSORS - {"matplotlib"}) | SERVER,  # which `job.plot()` imports when it runs
    "addercore": SERVER - {"pydantic"},
    "addercore/runtime": (TENSORS | SERVER) - {"numpy"},
    "addercore/export": (TENSORS | SERVER) - {"numpy", "onnx"},  # float models come to it as `addercore.quant` has them
}
"""Libraries that no file below a folder imports, anywhere in it."""

MOST_FLAT = 12
"""Modules side by side in `api/`; more belong into a room."""


def named_in(path: Path) -> set[str]:
    """Absolute names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def lies_in(name: str, folders: tuple[str, ...] | set[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_folders_import_what_the_design_allows(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for name in named_in(path):
            assert name.split(".")[0] not in FOLDERS or lies_in(name, ALLOWED[folder]), (
                f"{path.relative_to(ROOT)} imports {name}; {folder} may import {sorted(ALLOWED[folder])}"
            )


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_libraries_stay_out_of_folders_that_do_without(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        found = {name.split(".")[0] for name in named_in(path)} & FORBIDDEN[folder]
        assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_no_files_of_a_package_import_each_other_in_a_circle(package: str) -> None:
    found = circles_in(imports_within(package))
    assert not found, "what both need belongs into a file below them"


def test_loading_a_model_reaches_up_into_no_training() -> None:
    found = {
        (module, name)
        for module, names in imports_within("addercore").items()
        if lies_in(module, LOADING)
        for name in names
        if lies_in(name, ABOVE_LOADING)
    }
    assert not found


def test_the_integer_engine_stands_alone() -> None:
    for path in (ROOT / "addercore" / "runtime").rglob("*.py"):
        wrong = {name for name in named_in(path) if name.startswith("addercore") and not lies_in(name, RUNTIME)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_pages_and_routes_stand_on_schemas_and_not_on_each_other() -> None:
    for module, names in imports_within("api").items():
        own = module.rpartition(".")[2]
        other = {"pages": "routes", "routes": "pages"}.get(own)
        wrong = [name for name in names if name.rpartition(".")[2] == other]
        assert not wrong, f"{module} imports {wrong}"


def test_the_api_has_rooms_and_no_heap_of_modules() -> None:
    flat = [name for name in modules_of("api") if name.count(".") == 1 and not (ROOT / "api" / name[4:]).is_dir()]
    assert len(flat) <= MOST_FLAT, sorted(flat)


def loaded_by(module: str) -> set[str]:
    """Top-level names of all modules that an import loads."""
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    ["api.app", "worker.app", "worker.supervisor", "jobs.spec", "jobs.migrate", *PURE],
)
def test_only_the_training_process_loads_torch(module: str) -> None:
    assert loaded_by(module).isdisjoint({*TENSORS, "optuna"})


def test_importing_the_library_loads_nothing_of_it() -> None:
    assert loaded_by("addercore").isdisjoint({*TENSORS, "pydantic"})


def test_the_client_loads_nothing_of_the_server() -> None:
    foreign = {*TENSORS, *SERVER, "api", "worker", "jobs", "addercore"}
    assert loaded_by("adderclient.command").isdisjoint(foreign | {"launcher"})
    assert loaded_by("launcher.commands").isdisjoint(foreign)


def test_running_an_integer_model_loads_numpy_alone() -> None:
    foreign = loaded_by("addercore.runtime") - loaded_by("sys") - set(sys.stdlib_module_names)
    assert foreign == {"addercore", "numpy"}


def test_writing_c_source_loads_numpy_alone() -> None:
    foreign = loaded_by("addercore.export") - loaded_by("sys") - set(sys.stdlib_module_names)
    assert foreign == {"addercore", "numpy"}
