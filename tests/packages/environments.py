"""Fresh virtual environments outside the checkout, into which a wheel is installed as a user does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from sysconfig import get_path

ROOT = Path(__file__).parents[2]
LENT = ("torch", "triton")
LENT_FAMILIES = ("nvidia-", "cuda-")


class Environment:
    """A virtual environment, and a folder to work in. Its programs see no compiler and nothing of the checkout."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
        self.bin = folder / "env" / "bin"
        self.site = Path(self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout[:-1])
        self.work = folder / "work"
        self.work.mkdir()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of its programs: PATH names its own programs alone."""
        hidden = ("PYTHON", "VIRTUAL_ENV", "ADDER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        return kept | {"PATH": str(self.bin)}

    def command(self, program: str, *arguments: str) -> list[str]:
        """A command line with one of its programs."""
        return [str(self.bin / program), *arguments]

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one of its programs in its folder; raises AssertionError with what it said if it fails."""
        done = subprocess.run(
            self.command(program, *arguments),
            cwd=getattr(self, "work", None),
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def install(self, wheel: Path, extra: str | None = None) -> None:
        """Installs the wheel at the versions of constraints.txt; nothing that would have to be compiled."""
        what = str(wheel) if extra is None else f"{wheel}[{extra}]"
        options = ["--quiet", "--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
        if extra is not None:  # half the time, where nobody looks at the size
            options.append("--no-compile")
        self.run("python", "-m", "pip", "install", *options, what)

    def lend_torch(self) -> None:
        """Links torch of the tests' own environment, with CUDA's libraries where it has them, instead of installing it.

        It is 200 MB to several GB and no part of the wheel. Everything else that an extra names is installed anew.
        """
        for found in lent():
            target = self.site / found.name
            if not target.exists():
                target.symlink_to(found)

    def bytes(self) -> int:
        """Bytes of all that was installed, compiled modules included, without pip and setuptools themselves."""
        theirs = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
        files = (path for entry in self.site.iterdir() if not entry.name.startswith(theirs) for path in walk(entry))
        return sum(path.stat().st_size for path in files)


def walk(entry: Path) -> Iterator[Path]:
    """The files in a folder and below it, or the file itself."""
    return (path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else iter([entry])


def lent() -> set[Path]:
    """The folders and files of torch and what only it needs, in the site-packages of this environment."""
    site = Path(get_path("purelib"))
    found = set()
    for one in distributions(path=[str(site)]):
        name = str(one.metadata["Name"]).lower()
        if name in LENT or name.startswith(LENT_FAMILIES):
            found |= {site / file.parts[0] for file in one.files or () if file.parts[0] != ".."}
    return {path for path in found if path.exists()}
