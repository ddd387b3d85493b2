"""What all workers of one test run share: a folder, things that are made once in it, and a PostgreSQL server.

`pytest -n 2` runs the tests in two processes. Each fixture would be set up in both of them; what is slow to set up goes
through `once` instead, which the first process that asks carries out while the others wait.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The checkout; programs that are no installed package start here."""


class Run:
    """The test run that this process belongs to, alone or as a worker of pytest-xdist."""

    def __init__(self, config: pytest.Config, basetemp: Path) -> None:
        is_worker = hasattr(config, "workerinput")
        self.folder = (basetemp.parent if is_worker else basetemp) / "shared"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pid = os.getppid() if is_worker else os.getpid()
        """The process that lives as long as the run."""

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder `name`, which `make` has filled: the first process that asks calls it, the others wait for it.

        Where `make` raises, the next process that asks calls it again, with another empty folder. The folder is renamed
        when `make` has returned, so what it writes must not hold its own path.
        """
        folder = self.folder / name
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
                make(unfinished)
                unfinished.rename(folder)
        return folder

    def postgres(self) -> str:
        """The URL of a PostgreSQL server with the database `adder_template`; it stops when the run has ended."""

        def start(folder: Path) -> None:
            with (folder / "log").open("wb") as log:
                keeper = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.postgres_keeper", str(self.pid)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,  # Ctrl-C goes to the tests, which still need the server to clean up
                )
                assert keeper.stdout is not None
                with keeper.stdout:
                    url = keeper.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
            keeper.returncode = 0  # it outlives this process on purpose: Popen must not warn about that
            (folder / "url").write_text(url)

        return (self.once("postgres", start) / "url").read_text()
