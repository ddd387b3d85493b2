"""The version stands in pyproject.toml alone; everything else asks the installed package."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path

import pytest

import adderclient
import addercore
from adderclient._sync.transport import Transport
from api.app import create_app
from jobs.settings import Settings
from tests.packages.conftest import PACKAGES
from tests.packages.environments import ROOT


def test_package_library_client_command_and_api_have_one_version(version: str, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("adder")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    app = create_app(Settings(data_dir=tmp_path))
    assert installed("adderworks") == version
    assert addercore.__version__ == version
    assert adderclient.__version__ == version
    assert said == f"adderworks {version}\n"
    assert (app.version, app.openapi()["info"]["version"]) == (version, version)


def test_the_client_says_its_version_to_the_server(version: str) -> None:
    assert Transport("http://127.0.0.1:1", None, 1.0)._http.headers["User-Agent"] == f"adderclient/{version}"


@pytest.mark.parametrize("name", [*PACKAGES, "deploy", "Dockerfile", "Makefile", "setup.py", "docker-compose.yml"])
def test_no_other_file_states_the_version(name: str, version: str) -> None:
    path = ROOT / name
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.suffix in (".py", ".yml", ".json", "")]
    for file in files:
        if file.is_file():
            text = file.read_text(errors="replace")
            assert f'"{version}"' not in text, file
            assert f"={version}" not in text, file
