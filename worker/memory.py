"""Memory by the kernel's accounts: what a worker and its trainings may use, and whom the OOM killer ended.

Reads cgroup v2, else cgroup v1, else the accounts of the whole machine.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GIB = 1 << 30
UNLIMITED = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2**63."""
LATE_SECONDS = 30.0
"""Longest time from the kernel's counting of a kill to the end of the process, which first frees its memory."""


@dataclass(frozen=True)
class Group:
    """The cgroup of this process, and the groups that contain it."""

    folder: Path
    top: Path
    version: int

    def around(self) -> Iterator[Path]:
        """The folders of this group and of those that contain it, from the inside out."""
        folder = self.folder
        yield folder
        while folder != self.top:
            folder = folder.parent
            yield folder


def own_group(proc: Path = Path("/proc/self")) -> Group | None:
    """The memory cgroup of this process; None if the kernel shows none."""
    try:
        names = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split(" ") for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return None
    for version, mark in ((2, "memory.events"), (1, "memory.oom_control")):
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            if kind != ("cgroup2" if version == 2 else "cgroup") or (version == 1 and "memory" not in options):
                continue
            path = next(
                (p for _, names_, p in names if ("memory" in names_.split(",") if version == 1 else not names_)), "/"
            )
            top = Path(mount[4])
            try:  # a container may see its own cgroup as the root of the mount
                folder = top / PurePosixPath(path).relative_to(mount[3])
            except ValueError:
                folder = top
            if (folder / mark).exists():
                return Group(folder, top, version)
    return None


def limit_memory(gigabytes: float | None) -> None:
    """Bounds the data memory of this process (RLIMIT_DATA), in GiB; None: no bound."""
    if gigabytes is not None:
        limit = int(gigabytes * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def oom_kills() -> int:
    """How many processes of this cgroup (or machine) the OOM killer has ended so far; 0 if nothing counts them."""
    group = own_group()
    if group is None:
        return _field(Path("/proc/vmstat"), "oom_kill")
    return _field(group.folder / ("memory.events" if group.version == 2 else "memory.oom_control"), "oom_kill")


def memory_bytes() -> int:
    """Bytes that the worker and its trainings may use together: the tightest limit around them, else the machine's
    memory."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    group = own_group()
    for folder in group.around() if group else ():
        try:
            text = (folder / ("memory.max" if group and group.version == 2 else "memory.limit_in_bytes")).read_text()
            limits.append(int(text))
        except (OSError, ValueError):  # the outermost has none; "max"
            continue
    return min(limit for limit in limits if limit < UNLIMITED)


_accounting = threading.Lock()
_accounted = 0
"""How many of `oom_kills` are assigned to a process."""


class OomWatch:
    """Tells a process that the OOM killer ended from one that somebody else killed.

    Call `sample` at least every few seconds while the process lives: a kill that was counted long before its end was of
    another process.
    """

    def __init__(self) -> None:
        self._seen = deque([(time.monotonic(), oom_kills())])

    def sample(self) -> None:
        now = time.monotonic()
        self._seen.append((now, oom_kills()))
        while len(self._seen) > 1 and self._seen[1][0] < now - LATE_SECONDS:
            self._seen.popleft()

    def struck(self) -> bool:
        """Whether the OOM killer counted a kill lately that is not yet assigned to another process of this worker."""
        global _accounted
        with _accounting:
            known = max(self._seen[0][1], _accounted)
            if oom_kills() <= known:
                return False
            _accounted = known + 1
            return True


def _field(file: Path, name: str) -> int:
    try:
        fields = dict(line.split()[:2] for line in file.read_text().splitlines())
        return int(fields.get(name, 0))
    except (OSError, ValueError):
        return 0
