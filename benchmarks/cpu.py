"""CPU seconds of other processes, sampled while they run and read off at any moment afterwards (Linux)."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

PERIOD = 0.05
"""Seconds between two samples. Between them the reading is interpolated: at one busy core the error is far below it."""
CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, in ns resolution. Raises OSError when it is gone."""
    # The id of another process's CPU clock, as clock_getcpuclockid(3) makes it (linux/posix-timers.h).
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def tree_seconds(pid: int) -> float:
    """A process, its live descendants and those waited for (these in ticks of 10 ms): PostgreSQL with its backends."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = cpu_seconds(pid) + sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime
    for child in children(pid):
        try:
            total += tree_seconds(child)
        except OSError:
            continue  # ended meanwhile; the next sample has it among those waited for
    return total


def machine_seconds() -> float:
    """What all processes of the machine have used so far, by all cores, in ticks of 10 ms."""
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Direct children, of all threads. Empty when the process is gone."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        return found
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Sampler:
    """Samples named processes in a thread, from `add` on until they are gone or the `with` block ends."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], float]] = {}
        self._samples: dict[str, list[tuple[float, float]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-sampler", daemon=True)

    def add(self, name: str, pid: int, *, tree: bool = False) -> None:
        self._samples[name] = []
        self._readers = self._readers | {name: lambda: tree_seconds(pid) if tree else cpu_seconds(pid)}

    @property
    def names(self) -> list[str]:
        return list(self._samples)

    def between(self, name: str, begin: float, end: float) -> float:
        """CPU seconds that `name` used between two moments (`time.time()`)."""
        return self.at(name, end) - self.at(name, begin)

    def at(self, name: str, moment: float) -> float:
        samples = self._samples[name]
        after = bisect_left(samples, (moment,))
        if not 0 < after < len(samples):
            span = f"{samples[0][0]:.3f} to {samples[-1][0]:.3f}" if samples else "nothing"
            raise ValueError(f"{name} was sampled over {span}, which does not hold {moment:.3f}")
        (t0, c0), (t1, c1) = samples[after - 1], samples[after]
        return c0 + (c1 - c0) * (moment - t0) / (t1 - t0)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD):
            for name, read in self._readers.items():
                try:
                    seconds = read()
                except OSError:
                    continue  # gone
                self._samples[name].append((time.time(), seconds))

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
