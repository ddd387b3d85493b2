"""Memory as the kernel accounts for it: what this worker and its trainings may use, and whom it killed for want of it.

Reads cgroup v2, else v1, else the whole machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" by a number near 2**63."""
LATE_SECONDS = 30.0
"""From the kernel's counting of a kill to the end of the process: it first gives its memory back."""


@dataclass(frozen=True)
class Group:
    """The cgroup whose memory this process shares, and those around it."""

    folder: Path
    top: Path
    version: int

    def around(self) -> Iterator[Path]:
        """From this one outwards."""
        folder = self.folder
        yield folder
        while folder != self.top:
            folder = folder.parent
            yield folder


def own_group(proc: Path = Path("/proc/self")) -> Group | None:
    """None where the kernel shows no cgroup with memory accounts."""
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


def oom_kills() -> int:
    """Processes that the kernel killed for want of memory in this cgroup (or machine), ever; 0 where none counts."""
    group = own_group()
    if group is None:
        return _field(Path("/proc/vmstat"), "oom_kill")
    return _field(group.folder / ("memory.events" if group.version == 2 else "memory.oom_control"), "oom_kill")


def memory_bytes() -> int:
    """What the worker and its trainings may use together: the tightest limit around them, else the machine's memory."""
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
"""Of `oom_kills`, those whose victim is known."""


class OomWatch:
    """Tells a process that the kernel killed for want of memory from one that somebody else killed.

    Call `sample` at least every few seconds while it lives: kills that were counted long before its end were others'.
    """

    def __init__(self) -> None:
        self._seen = deque([(time.monotonic(), oom_kills())])

    def sample(self) -> None:
        now = time.monotonic()
        self._seen.append((now, oom_kills()))
        while len(self._seen) > 1 and self._seen[1][0] < now - LATE_SECONDS:
            self._seen.popleft()

    def struck(self) -> bool:
        """Whether a kill was counted lately that ended no other process of this worker."""
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
