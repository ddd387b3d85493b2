"""What the worker and its jobs use: a thread reads the kernel's accounts (proc(5)) every few seconds.

It looks at all processes at once, in one or two milliseconds, and the jobs take no part in it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from jobs.scheduling import kind_of
from jobs.settings import Settings
from jobs.system_metrics import Sample
from worker.probe import gpu_use
from worker.variables import visible_gpus

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MOST = 300
"""The samples of one attempt stand as close together as `sample_seconds`, or as this part of its age where that is
longer: an attempt of a day has some 1,500, one of a month 2,500."""
KEPT = 120
"""Samples of a worker: each stands for an equal part of the hours that are kept."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    cpu_seconds: float
    """Its own, and those of its children that have ended and that it waited for: of a group the sum only rises."""
    resident_bytes: int


@dataclass(frozen=True)
class Use:
    """What some processes use together."""

    cpu_seconds: float
    """Since they began."""
    resident_bytes: int
    gpu: float | None = None
    gpu_memory_bytes: int | None = None


def processes(proc: Path = Path("/proc")) -> list[Process]:
    """All processes of this machine or container; none where the system has no such files."""
    found = []
    for name in os.listdir(proc) if proc.is_dir() else ():
        if name.isdecimal():
            try:
                found.append(_process(int(name), (proc / name / "stat").read_bytes()))
            except (OSError, ValueError, IndexError):  # it has ended since
                continue
    return found


def _process(pid: int, stat: bytes) -> Process:
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may have any characters
    spent = sum(int(ticks) for ticks in fields[11:15]) / CLOCK_TICKS
    return Process(pid, int(fields[1]), int(fields[2]), spent, int(fields[21]) * PAGE_BYTES)


def of_group(found: Sequence[Process], group: int) -> Use:
    """What a process group uses: a job's process, its ranks and its loaders."""
    return _together([one for one in found if one.group == group])


def of_tree(found: Sequence[Process], root: int) -> Use:
    """What a process and all that it has started use."""
    children: dict[int, list[Process]] = defaultdict(list)
    for one in found:
        children[one.parent].append(one)
    chosen = [one for one in found if one.pid == root]
    for one in chosen:  # which grows meanwhile
        chosen += children.pop(one.pid, ())
    return _together(chosen)


def _together(chosen: Sequence[Process]) -> Use:
    return Use(sum(one.cpu_seconds for one in chosen), sum(one.resident_bytes for one in chosen))


class Meter:
    """Turns readings of what some processes use into samples of what they used meanwhile."""

    def __init__(self, now: float, cpu_seconds: float = 0.0) -> None:
        self._since = now
        self._spent = cpu_seconds
        self._readings: list[Use] = []

    def seconds(self, now: float) -> float:
        """Time since the last sample."""
        return now - self._since

    def read(self, use: Use) -> None:
        self._readings.append(use)

    def sample(self, now: float, time_ms: int) -> Sample | None:
        """Of the time since the last sample: CPU time by time, the most memory, the mean use of GPUs. None without a
        reading."""
        if not self._readings or now <= self._since:
            return None
        last = self._readings[-1]
        # A process that left the group, or that nobody waited for, takes its time along.
        cpu = max(0.0, last.cpu_seconds - self._spent) / (now - self._since)
        busy = [one.gpu for one in self._readings if one.gpu is not None]
        held = [one.gpu_memory_bytes for one in self._readings if one.gpu_memory_bytes is not None]
        memory = max(one.resident_bytes for one in self._readings)
        self._since, self._spent, self._readings = now, last.cpu_seconds, []
        gpu = round(sum(busy) / len(busy), 3) if busy else None
        return Sample(time_ms, round(cpu, 3), memory, gpu, max(held, default=None))


class Watched:
    """The samples of one attempt that wait to be written."""

    def __init__(self, group: int, device: str, now: float) -> None:
        self.group = group
        self.device = device
        self.began = now
        self.meter = Meter(now)
        self._lock = threading.Lock()
        self._samples: list[Sample] = []

    def gap(self, now: float, seconds: float) -> float:
        """Seconds between two samples by now: fewer than `seconds` at its beginning, so that short jobs have some."""
        age = now - self.began
        return max(seconds / 5, min(seconds, age / 10), age / MOST)

    def add(self, sample: Sample) -> None:
        with self._lock:
            self._samples.append(sample)

    def take(self) -> list[Sample]:
        """The samples since the last call."""
        with self._lock:
            taken, self._samples = self._samples, []
        return taken


class History:
    """The last hours of a worker, in a bounded number of samples."""

    def __init__(self, hours: float) -> None:
        self._part_ms = hours * 3_600_000 / KEPT
        self._parts: list[tuple[int, float, Sample]] = []
        """The number of the part, the seconds that it covers, and their sample."""

    def add(self, sample: Sample, seconds: float) -> None:
        """Adds what was used in the `seconds` before the sample's time."""
        number = int(sample.time / self._part_ms)
        if self._parts and self._parts[-1][0] == number:
            _, before, other = self._parts.pop()
            sample = _merged(other, before, sample, seconds)
            seconds += before
        self._parts.append((number, seconds, sample))
        self._parts = [part for part in self._parts[-KEPT:] if part[0] > number - KEPT]

    def samples(self) -> list[Sample]:
        """Oldest first; the last part is under way."""
        return [sample for _, _, sample in self._parts]


def _merged(one: Sample, its: float, other: Sample, others: float) -> Sample:
    def mean(a: float, b: float) -> float:
        return round((a * its + b * others) / (its + others), 3)

    gpus = (one.gpu, other.gpu)
    held = [value for value in (one.gpu_memory_bytes, other.gpu_memory_bytes) if value is not None]
    return replace(
        other,
        cpu=mean(one.cpu, other.cpu),
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        gpu=mean(gpus[0], gpus[1]) if gpus[0] is not None and gpus[1] is not None else other.gpu,
        gpu_memory_bytes=max(held, default=None),
    )


class Sampler:
    """Samples the worker and its running attempts in a thread of its own.

    Args:
        settings: `sample_seconds` and `worker_sample_hours`.
        has_gpus: whether the machine has GPUs to ask about.
        gpu_use: asks them.
    """

    def __init__(
        self,
        settings: Settings,
        has_gpus: Callable[[], bool] = lambda: False,
        gpu_use: Callable[[], list[dict[str, int]]] = gpu_use,
    ) -> None:
        self._seconds = settings.sample_seconds
        self._has_gpus, self._gpu_use = has_gpus, gpu_use
        self._history = History(settings.worker_sample_hours)
        self._own = Meter(time.monotonic(), of_tree(processes(), os.getpid()).cpu_seconds)
        self._lock = threading.Lock()
        self._watched: list[Watched] = []
        self._wake = threading.Event()
        self._stopping = False
        self._asked = -self._seconds
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.gpus: list[dict[str, int]] = []
        """The last reading of each GPU (`worker.probe.gpu_use`)."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    @contextmanager
    def watching(self, group: int, device: str) -> Iterator[Watched]:
        """Samples a process group that begins now, on a device of the worker, for the time of the block."""
        watched = Watched(group, device, time.monotonic())
        with self._lock:
            self._watched.append(watched)
        self._wake.set()
        try:
            yield watched
        finally:
            with self._lock:
                self._watched.remove(watched)

    def samples(self) -> list[Sample]:
        """Those of the worker, its jobs included, oldest first."""
        with self._lock:
            return self._history.samples()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self.round()
            except Exception as error:  # noqa: BLE001  (a thread that must go on; said in the log)
                log.warning("sampling.failed", error=str(error), kind=type(error).__name__)

    def _pause(self) -> float:
        now = time.monotonic()
        with self._lock:
            return min((one.gap(now, self._seconds) for one in self._watched), default=self._seconds)

    def round(self) -> None:
        """Reads what is used now, and makes the samples that are due."""
        if self._has_gpus() and time.monotonic() - self._asked >= self._seconds:
            self._asked = time.monotonic()
            self.gpus = self._gpu_use()
        found, now, time_ms = processes(), time.monotonic(), time.time_ns() // 1_000_000
        if not found:
            return
        with self._lock:
            watched = list(self._watched)
        for one in watched:
            one.meter.read(self._with_gpus(of_group(found, one.group), one.device))
            if one.meter.seconds(now) >= 0.9 * one.gap(now, self._seconds):
                sample = one.meter.sample(now, time_ms)
                if sample is not None and sample.memory_bytes:  # else it has ended
                    one.add(sample)
        self._own.read(self._with_gpus(of_tree(found, os.getpid()), None))
        seconds = self._own.seconds(now)
        own = self._own.sample(now, time_ms) if seconds >= 0.9 * self._seconds else None
        if own is not None:
            with self._lock:
                self._history.add(own, seconds)

    def _with_gpus(self, use: Use, device: str | None) -> Use:
        """Adds the reading of the job's GPUs; of all of them where no device is named."""
        if device is None:
            mine = self.gpus
        elif kind_of(device) == "cuda":
            numbers = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), device).split(",")
            mine = [gpu for gpu in self.gpus if str(gpu["index"]) in numbers]
        else:
            mine = []
        if not mine:
            return use
        busy = sum(gpu["utilization"] for gpu in mine) / 100
        return replace(use, gpu=busy, gpu_memory_bytes=sum(gpu["memory_used_bytes"] for gpu in mine))
