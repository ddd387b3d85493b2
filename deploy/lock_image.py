"""`make lock` writes `deploy/image.lock` too: what the image installs, each with the checksums of its files.

The versions are those of `constraints.txt`, and the packages those that the extra `server` needs. Torch is left out
with what only its CUDA build brings: its index is a build argument, and another index has other files of that version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "deploy" / "image.lock"
APART = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
OLDER_PYTHON = ("async-timeout==5.0.1",)
"""What redis needs before Python 3.11.3, which Debian 12 has: no newer Python installs it, so no pin names it."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64")
OLDER = ("manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux_2_12", "manylinux2014", "manylinux_2_5")
HEAD = """\
# What the image installs beside torch: exact versions with the SHA-256 of their files. `make lock` writes this file.
"""


def main() -> int:
    versions = pinned(ROOT / "constraints.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (build,) = project["build-system"]["requires"]  # the image builds the package itself, without a network
    names = needed(project["project"]["dependencies"] + [f"{project['project']['name']}[server]"])
    own = sorted(f"{name}=={versions[name]}" for name in names if not APART.fullmatch(name))
    wanted = [build, *OLDER_PYTHON, *own]
    found: dict[str, set[str]] = {}
    for platform in PLATFORMS:
        for name, sha256 in hashes(wanted, platform):
            found.setdefault(name, set()).add(sha256)
    lines = []
    for requirement in wanted:
        name = canonicalize_name(requirement.partition("==")[0])
        lines.append(" \\\n".join([requirement, *(f"    --hash=sha256:{one}" for one in sorted(found[name]))]))
    LOCK.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{LOCK.relative_to(ROOT)}: {len(wanted)} packages, {sum(map(len, found.values()))} files")
    return 0


def pinned(constraints: Path) -> dict[str, str]:
    """Versions by normalised name."""
    pairs = [line.split("==") for line in constraints.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version.partition("+")[0].strip() for name, version in pairs}


def needed(requirements: list[str]) -> set[str]:
    """Normalised names of all that requirements bring along on this kind of system, without the project itself and what
    builds it."""
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                own = distribution(name).requires or []
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed here: run `make setup` first")
            for text in own:
                next_ = Requirement(text)
                if next_.marker is None or next_.marker.evaluate({"extra": extra}):
                    waiting.append(next_)
    return {name for name, _ in seen} - {"adderworks", "setuptools"}


def hashes(wanted: list[str], platform: str) -> list[tuple[str, str]]:
    """Normalised name and SHA-256 of the file that pip chooses for each requirement on a platform."""
    processor = platform.split("_", 3)[-1]
    platforms = [platform, *(f"{older}_{processor}" for older in OLDER)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps",
            "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3",
            "--abi=none", *(f"--platform={one}" for one in platforms), f"--target={folder}/target",
            f"--report={report}", *wanted,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        items = json.loads(report.read_text())["install"]
    return [
        (canonicalize_name(item["metadata"]["name"]), item["download_info"]["archive_info"]["hashes"]["sha256"])
        for item in items
    ]


if __name__ == "__main__":
    sys.exit(main())
