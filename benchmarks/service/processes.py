"""What a running process holds: memory and open files, read from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path


def resident_mib(pid: int) -> float:
    """Resident memory in MiB. Raises OSError when the process is gone."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(pid: int) -> int:
    """Open file descriptors. Raises OSError when the process is gone."""
    return len(os.listdir(f"/proc/{pid}/fd"))
