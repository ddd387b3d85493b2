"""How the ``adder`` command finds the launcher's commands, and what they say where the server is not installed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from adderclient.command.extras import brought_by
from addercore.config import DATASETS
from launcher.commands import Published

COMMANDS = ("up", "demo", "backup", "restore")
ROOT = Path(__file__).parents[2]
PACKAGES = ("addercore", "adderclient", "api", "jobs", "launcher", "worker")
HIDE = """
import importlib.metadata as m
real = m.distribution
def hide(name):
    def found(asked):
        if asked == name: raise m.PackageNotFoundError(name)
        return real(asked)
    m.distribution = found
"""


def adder(before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that runs the statements ``before`` first."""
    code = f"import sys; sys.argv[0] = 'adder'; {before}\nfrom adderclient.command import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_the_command_has_the_commands_of_the_launcher() -> None:
    listed = adder("pass", "--help").stdout.split()
    assert set(COMMANDS) < set(listed)


def test_the_command_works_where_the_launcher_is_not_installed() -> None:
    done = adder("sys.modules['launcher'] = None", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "submit" in done.stdout.split()
    assert not set(COMMANDS) & set(done.stdout.split())


@pytest.mark.parametrize(
    ("hidden", "extra", "arguments"),
    [
        ("celery", "server", ("up",)),
        ("celery", "server", ("demo",)),
        ("celery", "server", ("backup", "x")),
        ("celery", "server", ("restore", "x")),
        ("celery", "server", ("worker", "start")),
        ("safetensors", "core", ("datasets", "fetch", "mnist")),
        ("safetensors", "core", ("import", "--from-authors", __file__)),
        ("safetensors", "server", ("up",)),  # what an extra brings by another one
    ],
)
def test_a_command_whose_extra_is_not_installed_says_how_to_install_it(
    hidden: str, extra: str, arguments: tuple[str, ...]
) -> None:
    done = adder(f"{HIDE}\nhide({hidden!r})", *arguments)
    assert done.returncode == 2
    assert f"{hidden} is not installed here" in done.stderr
    assert done.stderr.endswith(f"pip install 'adderworks[{extra}]'\n")
    assert done.stderr.count("\n") == 1


def test_every_extra_that_a_command_names_is_one_of_the_package() -> None:
    known = metadata("adderworks").get_all("Provides-Extra")
    sources = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")]
    named = {
        extra for path in sources for extra in re.findall(r"adderworks\[(\w+)\]|need\(\"(\w+)\"", path.read_text())
    }
    assert {one for pair in named for one in pair if one} == {"core", "onnx", "server"} <= set(known or ())
    assert {"torch", "numpy"} <= set(brought_by("core")) < set(brought_by("server"))


def test_the_datasets_to_fetch_are_those_of_the_library() -> None:
    assert {one.value for one in Published} == set(DATASETS) - {"digits"}, "digits come with scikit-learn"


def test_an_unknown_dataset_is_refused_by_the_command_itself() -> None:
    done = adder("pass", "datasets", "fetch", "nope")
    assert done.returncode == 2
    assert "cifar100" in done.stderr
    assert "addercore" not in done.stderr
