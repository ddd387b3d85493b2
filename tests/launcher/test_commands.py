"""How the ``adder`` command finds the launcher's commands, and what they say where the server is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from addercore.config import DATASETS
from launcher.commands import Published

COMMANDS = ("up", "demo", "backup", "restore")


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


@pytest.mark.parametrize("arguments", [("up",), ("backup", "x"), ("worker", "start"), ("datasets", "fetch", "mnist")])
def test_where_the_server_is_not_installed_the_command_says_how_to_install_it(arguments: tuple[str, ...]) -> None:
    hidden = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n: n != 'celery' and f(n) or None"
    done = adder(hidden, *arguments)
    assert done.returncode == 2
    assert "celery is not installed here" in done.stderr
    assert "pip install 'adderworks[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_datasets_to_fetch_are_those_of_the_library() -> None:
    assert {one.value for one in Published} == set(DATASETS) - {"digits"}, "digits come with scikit-learn"


def test_an_unknown_dataset_is_refused_by_the_command_itself() -> None:
    done = adder("pass", "datasets", "fetch", "nope")
    assert done.returncode == 2
    assert "cifar100" in done.stderr
    assert "addercore" not in done.stderr
