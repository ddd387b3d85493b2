"""The programs of the server and their arguments: asking for help starts nothing, an unknown argument is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "api",
    "jobs.backup",
    "jobs.migrate",
    "jobs.restore",
    "jobs.spec_files",
    "jobs.valkey",
    "worker",
    "worker.child",
    "worker.inference",
    "worker.probe",
    "worker.template.program",
)


@pytest.mark.long("eleven programs start")
@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--no-such-option", 2)])
def test_help_and_an_unknown_argument_print_the_usage_and_start_nothing(
    argument: str, code: int, tmp_path: Path
) -> None:
    """Each program in an empty folder, with the settings of somebody who has set none; all of them at once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADDER_")}
    started = {
        program: subprocess.Popen(
            [sys.executable, "-m", program, argument],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for program in PROGRAMS
    }
    try:
        said = {program: process.communicate(timeout=240) for program, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    ended = {program: process.returncode for program, process in started.items()}
    assert ended == dict.fromkeys(PROGRAMS, code), said
    assert [program for program, (out, err) in said.items() if "usage: " not in (err if code else out)] == []
    assert list(tmp_path.iterdir()) == [], "no data folder, no database"


def test_every_program_of_the_server_is_tried_here() -> None:
    found = set()
    for package in ("api", "jobs", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            if '__name__ == "__main__"' in path.read_text():
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    assert found == set(PROGRAMS)
