"""The short form of the fault suite, and that it can fail. The long form is `make faults` (docs/faults.md)."""

from __future__ import annotations

import os
import subprocess
import sys

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
        timeout=280,
    )


def test_nothing_is_lost_nothing_is_done_twice() -> None:
    done = suite("--short")
    assert done.returncode == 0, done.stdout


def test_without_the_fence_the_table_is_red() -> None:
    done = suite("--only", STOPPED, "--times", "1", "--without-fence")
    assert done.returncode == 1, done.stdout
    assert "  duplicated: " in done.stdout, done.stdout


def test_the_plan_depends_on_the_seed_alone() -> None:
    plans = [suite("--plan", "--short", "--seed", seed).stdout for seed in ("1", "1", "2")]
    assert plans[0] == plans[1]
    assert plans[0].splitlines()[1:] != plans[2].splitlines()[1:]


def test_a_fault_that_is_not_there_is_named_with_those_that_are() -> None:
    done = suite("--only", "earthquake")
    assert done.returncode == 1
    assert "'earthquake'" in done.stdout
    assert STOPPED in done.stdout
