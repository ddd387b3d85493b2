"""`make release` on a copy of the checkout, and environments into which its wheel is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packages.environments import ROOT, Environment

PACKAGES = ("api", "worker", "addercore", "jobs", "adderclient", "launcher", "migrations")
NOTES = "## 0.1.0\n\n- **What was made** for this version.\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run in one process of the test run: they share what was built."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("packages"))


@pytest.fixture(scope="session")
def version() -> str:
    """The version that pyproject.toml has."""
    (line,) = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = ")]
    return line.split('"')[1]


def copy_checkout(target: Path, version: str) -> Path:
    """A checkout without git and build outputs, whose changelog has a part for the version."""
    target.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "Makefile", "constraints.txt"):
        shutil.copy2(ROOT / name, target)
    for name in (*PACKAGES, "deploy"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    parts = ["# Changelog\n", "## Unreleased\n\n- Not yet.\n", NOTES.replace("0.1.0", version), "## 0.0.9\n\n- Old.\n"]
    (target / "CHANGELOG.md").write_text("\n".join(parts))
    return target


def make_release(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make release` with the programs of this environment; nothing is set up for it."""
    programs = Path(sys.executable).parent
    return subprocess.run(
        ["make", "--no-print-directory", "--assume-old", "setup", "release", f"RUN={programs}"],
        cwd=checkout,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


@dataclass(frozen=True)
class Release:
    """What `make release` made and said."""

    folder: Path
    said: str
    git_was_called: bool

    @property
    def wheel(self) -> Path:
        (found,) = self.folder.glob("*.whl")
        return found


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, version: str) -> Release:
    """A release, made from a copy of the checkout without git."""
    checkout = copy_checkout(tmp_path_factory.mktemp("release") / "checkout", version)
    # What earlier builds leave, and must not come into a package.
    stale = checkout / "build" / "lib" / "api" / "of_an_earlier_build.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    git = checkout.parent / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\ntouch {checkout.parent}/called\nexit 1\n")
    git.chmod(0o755)
    done = make_release(checkout, PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stdout + done.stderr
    return Release(checkout / "dist", done.stdout, (checkout.parent / "called").exists())


@pytest.fixture(scope="session")
def plain(released: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install adderworks`."""
    environment = Environment(tmp_path_factory.mktemp("plain"))
    environment.install(released.wheel)
    return environment


@pytest.fixture
def with_torch(tmp_path: Path) -> Environment:
    """An environment that has torch and nothing else."""
    environment = Environment(tmp_path)
    environment.lend_torch()
    return environment
