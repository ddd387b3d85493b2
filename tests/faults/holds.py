"""Points at which a process of the system under test stops until the harness lets it go on or kills it.

The harness arms an edge by a file; the first process that gets there renames the file, which only one can, and waits.
Without `FAULTS_HOLDS` in the environment nothing is ever held.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

FOLDER = "FAULTS_HOLDS"
WAIT_SECONDS = 0.005
LONGEST_SECONDS = 60.0
"""A hold that was forgotten ends by itself."""


def reach(edge: str, job: str = "") -> None:
    """Says that this process is at `edge` of a job, and stays there while it is held."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    held = _claimed(Path(folder), edge, job)
    deadline = time.monotonic() + LONGEST_SECONDS
    while held is not None and held.exists() and time.monotonic() < deadline:
        time.sleep(WAIT_SECONDS)


def _claimed(folder: Path, edge: str, job: str) -> Path | None:
    for name in (_name(edge, job), edge):
        held = folder / f"{name}.held.{os.getpid()}"
        try:
            os.rename(folder / f"{name}.armed", held)
        except FileNotFoundError:
            continue
        return held
    return None


def _name(edge: str, job: str) -> str:
    return f"{edge}@{job}" if job else edge


class Holds:
    """The harness's side. An edge is armed for one job, or for whichever gets there first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def arm(self, edge: str, job: str = "") -> None:
        (self.folder / f"{_name(edge, job)}.armed").touch()

    def held(self, edge: str, job: str = "") -> int | None:
        """Process id of who waits there."""
        found = next(self.folder.glob(f"{_name(edge, job)}.held.*"), None)
        return None if found is None else int(found.suffix[1:])

    def release(self, edge: str, job: str = "") -> None:
        for path in self.folder.glob(f"{_name(edge, job)}.*"):
            path.unlink(missing_ok=True)
