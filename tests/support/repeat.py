"""Runs the tests several times in a row on a busy machine and says which failed: `python -m tests.support.repeat`.

The arguments after `--` are pytest's. `make test-five` runs the short part of the suite five times beside four busy
processes.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.programs import die_with_parent

BUSY = "while True: pass"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Each of so many processes wants a whole core."""
    running = [
        subprocess.Popen([sys.executable, "-c", BUSY], preexec_fn=die_with_parent(signal.SIGKILL))
        for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def failed(report: Path) -> list[str]:
    """The tests that a report in JUnit's format calls failed or broken."""
    cases = ElementTree.parse(report).iter("testcase")
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.repeat", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often (%(default)s)")
    parser.add_argument("--load", type=int, default=4, help="busy processes beside the tests (%(default)s)")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    options = parser.parse_args(arguments)
    failures: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as folder, busy(options.load):
        report = Path(folder) / "report.xml"
        for number in range(1, options.times + 1):
            report.unlink(missing_ok=True)
            began = time.monotonic()
            command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options.pytest]
            code = subprocess.run(command).returncode
            found = failed(report) if report.exists() else []
            failures.update(found)
            broken += code != 0
            took = (time.monotonic() - began) / 60
            print(f"run {number} of {options.times}: exit code {code}, {len(found)} failed, {took:.1f} min", flush=True)
    print(f"{options.times - broken} of {options.times} runs passed beside a load of {options.load}")
    for name, times in failures.most_common():
        print(f"  failed in {times}: {name}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
