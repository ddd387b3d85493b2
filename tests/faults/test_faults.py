"""The short form of the fault suite, and that it can fail. The long form is `make faults` (docs/faults.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.__main__ import main
from tests.faults.faults import ALL

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
STOPPED = "SIGSTOP past the lease, then SIGCONT"


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADDER_")}
    return subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


@pytest.mark.long("a dozen kinds of faults, some of them several times")
def test_nothing_is_lost_nothing_is_done_twice() -> None:
    done = suite("--short")
    assert done.returncode == 0, done.stdout


@pytest.mark.long("the table once more, without the fence")
def test_without_the_fence_the_table_is_red() -> None:
    done = suite("--only", STOPPED, "--times", "1", "--without-fence")
    assert done.returncode == 1, done.stdout
    assert "  duplicated: " in done.stdout, done.stdout


def test_the_plan_depends_on_the_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def plan(seed: str) -> list[str]:
        assert main(["--plan", "--short", "--seed", seed]) == 0
        return capsys.readouterr().out.splitlines()[1:]

    assert plan("1") == plan("1") != plan("2")


def test_a_fault_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match=f"no fault is named 'earthquake'; .*{STOPPED}"):
        main(["--only", "earthquake"])


def test_the_page_has_a_row_for_every_fault() -> None:
    page = PAGE.read_text()
    assert [fault.name for fault in ALL if page.count(f"| {fault.name} |") != 2] == []
