"""`make release`: what it makes, and when it refuses."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packages.conftest import NOTES, PACKAGES, Release, copy_checkout, make_release
from tests.packages.environments import ROOT

BUILT = pytest.mark.long("builds source distribution and wheel in an environment of their own")
NOT_IN_WHEEL = re.compile(
    r"addercore/ops/c/src/|addercore/runtime/src/(?!adder_run\.h)|migrations/script\.py\.mako$|__pycache__|\.so$|"
    r"addercore/(ops/c|runtime)/\.kernels-"
)
"""Sources of the C libraries, the template for new migrations, and build outputs."""


@BUILT
def test_a_release_has_wheel_source_changes_and_checksums(released: Release, version: str) -> None:
    files = {path.name for path in released.folder.iterdir()}
    machine = platform.machine()
    wheel = released.wheel.name
    assert re.fullmatch(rf"adderworks-{re.escape(version)}-py3-none-manylinux[\w.]*_{machine}\.whl", wheel), wheel
    assert files == {wheel, f"adderworks-{version}.tar.gz", f"CHANGES-{version}.md", "SHA256SUMS"}
    assert (released.folder / f"CHANGES-{version}.md").read_text() == NOTES.replace("0.1.0", version)
    sums = dict(line.split("  ")[::-1] for line in (released.folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((released.folder / name).read_bytes()).hexdigest() for name in files - {"SHA256SUMS"}
    }
    assert "Nothing was uploaded" in released.said


@BUILT
def test_a_release_is_built_without_git(released: Release) -> None:
    assert not released.git_was_called


@BUILT
def test_the_wheel_has_every_file_of_the_packages_and_no_other(released: Release) -> None:
    tracked = {
        str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()
    }
    wanted = {name for name in tracked if not NOT_IN_WHEEL.search(name)}
    names = zipfile.ZipFile(released.wheel).namelist()
    found = {name for name in names if ".dist-info/" not in name and not name.endswith("/")}
    assert found - {"addercore/ops/c/libadder.so", "addercore/runtime/libadder_run.so"} == wanted


@BUILT
def test_the_wheel_brings_kernels_that_need_nothing_but_libc_and_openmp(released: Release, tmp_path: Path) -> None:
    library = zipfile.ZipFile(released.wheel).extract("addercore/ops/c/libadder.so", tmp_path)
    assert ctypes.CDLL(library).adder_abi() > 0
    engine = zipfile.ZipFile(released.wheel).extract("addercore/runtime/libadder_run.so", tmp_path)
    assert ctypes.CDLL(engine).adder_run_abi() > 0
    said = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(released.wheel)], capture_output=True, text=True, check=True
    ).stdout
    outside = set(re.findall(r"\b(\S+\.so[.\d]*) with", said.replace("\n", " ")))
    assert outside <= {"libc.so.6", "libm.so.6", "libgomp.so.1"}, said


@BUILT
def test_the_source_distribution_has_what_a_build_needs(released: Release, version: str) -> None:
    with tarfile.open(released.folder / f"adderworks-{version}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = (ROOT / "addercore/ops/c/src", ROOT / "addercore/runtime/src")
    sources = {str(path.relative_to(ROOT)) for folder in folders for path in folder.iterdir() if path.is_file()}
    assert {"setup.py", "pyproject.toml", "README.md", "adderclient/specs.json", *sources} <= names
    assert not [name for name in names if name.startswith(("tests/", "build/"))]


def test_a_version_without_a_part_in_the_changelog_is_refused(tmp_path: Path, version: str) -> None:
    checkout = copy_checkout(tmp_path / "checkout", version)
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- Much.\n")
    done = make_release(checkout)
    assert done.returncode != 0
    assert f"no parts for the version {version}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / "dist").exists()


def test_a_checkout_with_changes_is_refused(tmp_path: Path, version: str) -> None:
    checkout = copy_checkout(tmp_path / "checkout", version)
    subprocess.run(["git", "init", "--quiet"], cwd=checkout, check=True)
    done = make_release(checkout)
    assert done.returncode != 0
    assert "changes that no commit holds" in done.stderr
    assert "?? api/" in done.stderr
    assert not (checkout / "dist").exists()


def test_without_a_compiler_there_is_no_release(tmp_path: Path, version: str) -> None:
    checkout = copy_checkout(tmp_path / "checkout", version)
    done = make_release(checkout, CC="/nowhere/cc")
    assert done.returncode != 0
    assert "no C compiler found (looked for /nowhere/cc)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / "dist").exists()
