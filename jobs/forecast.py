"""Forecasts for queued jobs: position, start, and what no worker offers. Pure functions of a snapshot.

Starts come from a simulation of the queue: every slot takes the job that `jobs/repository/queue.py: claim` would give
it, for as long as such a job is expected to run.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from jobs.scheduling import COMPETES, device_text, devices_of, has_gpu, kind_of, placement, room


class Needs(NamedTuple):
    """What a queued job needs from the worker that takes it."""

    device: str
    memory_mb: int = 0
    key: str | None = None
    """The environment that the job keeps to (`Job.environment_key`); None: any."""
    alone: bool = False
    """Whether it must run alone on its worker (`scheduling.last_chance`)."""
    ranks: int = 1
    """Processes that compute it together."""


class Waiting(NamedTuple):
    """A queued job."""

    id: str
    priority: int
    turn: int
    needs: Needs
    work: int = 1
    """Mega-operations that are left to do."""

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key; jobs are claimed in ascending order."""
        return (-self.priority, self.turn, self.id)


@dataclass(frozen=True)
class Host:
    """A live worker."""

    id: str
    devices: tuple[str, ...] = ("cpu",)
    """The device of each slot, best first."""
    memory_mb: int = 2**62
    keys: frozenset[str] = frozenset()
    draining: bool = False

    @cached_property
    def gpus(self) -> bool:
        return has_gpu(self.devices)

    @cached_property
    def accepts(self) -> frozenset[str]:
        """The device demands that it can meet."""
        return frozenset(placement(self.devices, self.gpus))

    def may(self, needs: Needs) -> bool:
        """Whether it could take such a job if it ran no other."""
        return (
            not self.draining
            and needs.device in self.accepts
            and needs.memory_mb <= self.memory_mb
            and (needs.key is None or needs.key in self.keys)
            and (needs.ranks == 1 or room(self.devices, self.devices, needs.device, needs.ranks) is not None)
        )


class Running(NamedTuple):
    """A job on its worker."""

    host: str
    device: str
    seconds: float | None
    """Seconds until it is expected to end; None: not known."""
    memory_mb: int = 0
    alone: bool = False


class Pace(NamedTuple):
    """How long jobs take on a kind of device, in seconds: a fixed time, and a time for each mega-operation."""

    start: float
    each: float

    def seconds(self, work: int) -> float:
        return self.start + self.each * work


def pace_of(samples: Sequence[tuple[int, float]]) -> Pace | None:
    """Fits a line to `(work, seconds)` of past jobs, with the least *relative* squared errors; None without samples.

    Minimises Σ((start + each·w − s) / s)² with both not negative.
    """
    known = [(work, max(seconds, 1e-3)) for work, seconds in samples]
    if not known:
        return None
    # Normal equations of Σ(a·x + b·y − 1)² with x = 1/s, y = w/s.
    xx = sum(1 / s**2 for _, s in known)
    xy = sum(w / s**2 for w, s in known)
    yy = sum(w * w / s**2 for w, s in known)
    x, y = sum(1 / s for _, s in known), sum(w / s for w, s in known)
    determinant = xx * yy - xy * xy
    if determinant > 1e-9 * xx * yy:
        start, each = (x * yy - y * xy) / determinant, (xx * y - xy * x) / determinant
        if start >= 0 and each >= 0:
            return Pace(start, each)
        if each < 0:
            return Pace(x / xx, 0.0)
    return Pace(0.0, y / yy)


@dataclass
class Forecast:
    """The queue at one moment. It also answers for jobs that were submitted since."""

    waiting: Sequence[Waiting]
    hosts: Sequence[Host]
    running: Sequence[Running] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)
    """By kind of device."""
    at_ms: int = 0
    """The database's time of the snapshot."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """Turns that jobs of one project will have changed with each other when they are claimed, by id."""

    def standing(self, job: Waiting) -> Waiting:
        """A job with the turn at which it will be claimed."""
        return job._replace(turn=self.turns.get(job.id, job.turn))

    def position(self, job: Waiting) -> int:
        """1 plus the number of jobs before it that compete for the same workers."""
        return 1 + sum(
            bisect_left(orders, job.order) for needs, orders in self._lines.items() if self._compete(job.needs, needs)
        )

    def start_in(self, job: Waiting) -> float | None:
        """Seconds until the job is expected to start; None if that is unknown or no live worker could take it.

        A job that is not in the snapshot starts no earlier than the job before it with the same needs.
        """
        orders = self._lines.get(job.needs, [])
        at = bisect_left(orders, job.order)
        if at < len(orders) and orders[at] == job.order:
            return self._starts.get(job.id)
        return self._starts.get(orders[at - 1][2]) if at else None

    def start_of_new(self, job: Waiting) -> float | None:
        """Seconds until a job would start that nobody has submitted yet; None as `start_in` says."""
        return replace(self, waiting=[*self.waiting, job]).start_in(job)

    def waiting_for(self, needs: Needs) -> str | None:
        """What no live worker offers; None if one could take such a job."""
        if self._takers(needs):
            return None
        live = [host for host in self.hosts if not host.draining]
        if not live:
            return "every live worker is being drained" if self.hosts else "there is no live worker"
        fitting = [host for host in live if needs.device in host.accepts]
        if not fitting:
            return f"no live worker has a {'GPU' if needs.device == 'cuda' else 'CPU to offer'}"
        if needs.ranks > 1 and not any(
            room(host.devices, host.devices, needs.device, needs.ranks) is not None for host in fitting
        ):
            return f"no live worker has {needs.ranks} GPUs"
        fitting = [host for host in fitting if host.memory_mb >= needs.memory_mb]
        where = " with a GPU" if needs.device == "cuda" else ""
        if not fitting:
            return f"no live worker{where} has {needs.memory_mb / 1024:g} GiB of memory"
        return (
            f"no live worker{where} offers {needs.key}, on which the job began; "
            "wait for one that does, or cancel it and retry it with from=checkpoint"
        )

    def _takers(self, needs: Needs) -> frozenset[int]:
        """Hosts that could take such a job."""
        if needs not in self._takers_of:
            self._takers_of[needs] = frozenset(i for i, host in enumerate(self.hosts) if host.may(needs))
        return self._takers_of[needs]

    @cached_property
    def _takers_of(self) -> dict[Needs, frozenset[int]]:
        return {}

    def _compete(self, a: Needs, b: Needs) -> bool:
        mine, theirs = self._takers(a), self._takers(b)
        if mine and theirs:
            return not mine.isdisjoint(theirs)
        # A job that no worker can take now waits behind those that compete for its kind of device.
        return not mine and b.device in COMPETES[a.device]

    @cached_property
    def _lines(self) -> dict[Needs, list[tuple[int, int, str]]]:
        """The sort keys of the jobs with the same needs, in order."""
        lines = defaultdict(list)
        for job in self.waiting:
            lines[job.needs].append(job.order)
        for orders in lines.values():
            orders.sort()
        return dict(lines)

    @cached_property
    def _starts(self) -> dict[str, float]:
        """Seconds until each job starts, if that is known."""
        return dict(Replay(self.waiting, self.hosts, self.running, self.paces).run())


@dataclass
class _Slots:
    """The state of a worker in the simulation."""

    host: Host
    free: list[str]
    memory_mb: int
    jobs: int = 0
    closed: bool = False
    """Whether a job runs here that must run alone."""

    def take(self, device: str, memory_mb: int, alone: bool) -> None:
        for one in devices_of(device):
            if one in self.free:
                self.free.remove(one)
        self.memory_mb -= memory_mb
        self.jobs += 1
        self.closed = self.closed or alone

    def leave(self, device: str, memory_mb: int, alone: bool) -> None:
        self.free = sorted([*self.free, *devices_of(device)], key=self.host.devices.index)
        self.memory_mb += memory_mb
        self.jobs -= 1
        self.closed = self.closed and not alone

    def devices(self, needs: Needs) -> str | None:
        """Where such a job would run; None if too few slots are free."""
        if needs.ranks == 1:
            return placement(self.free, self.host.gpus).get(needs.device)
        found = room(self.free, self.host.devices, needs.device, needs.ranks)
        return None if found is None else device_text(found)

    def fits(self, needs: Needs) -> bool:
        """Whether it could take such a job now, apart from its devices."""
        return needs.memory_mb <= self.memory_mb and not (needs.alone and self.jobs)


class Replay:
    """Simulates the queue, from the jobs that run now until no further job can start."""

    def __init__(
        self,
        waiting: Iterable[Waiting],
        hosts: Sequence[Host],
        running: Iterable[Running],
        paces: Mapping[str, Pace],
    ) -> None:
        self._paces = paces
        self._hosts = [_Slots(host, list(host.devices), host.memory_mb) for host in hosts if not host.draining]
        self._lines: dict[Needs, deque[Waiting]] = defaultdict(deque)
        for job in sorted(waiting, key=lambda job: job.order):
            self._lines[job.needs].append(job)
        self._for = [[needs for needs in self._lines if slots.host.may(needs)] for slots in self._hosts]
        self._ends: list[tuple[float, int, str, int, bool]] = []
        number = {slots.host.id: i for i, slots in enumerate(self._hosts)}
        for at in running:
            if at.host in number:
                self._hosts[number[at.host]].take(at.device, at.memory_mb, at.alone)
                self._end(at.seconds, number[at.host], at.device, at.memory_mb, at.alone)

    def run(self) -> Iterable[tuple[str, float]]:
        """`(job id, seconds until it starts)`, in that order."""
        for number in range(len(self._hosts)):
            yield from self._fill(number, 0.0)
        while self._ends:
            time, number, device, memory_mb, alone = heapq.heappop(self._ends)
            self._hosts[number].leave(device, memory_mb, alone)
            yield from self._fill(number, time)

    def _next(self, number: int) -> tuple[Waiting | None, str]:
        """The job that a worker takes next, and where; (None, "") if there is none for it.

        A job of several processes that comes first and needs more slots keeps those of its kind that are free here, if
        this is the first worker that could take it.
        """
        slots, kept = self._hosts[number], set[str]()
        places = placement(slots.free, slots.host.gpus)
        lines = (self._lines[needs] for needs in self._for[number] if needs.device in places and slots.fits(needs))
        for job in sorted((line[0] for line in lines if line), key=lambda job: job.order):
            kind = kind_of(places[job.needs.device])
            device = slots.devices(job.needs)
            if device is not None and kind not in kept:
                return job, device
            if device is None and number == min(i for i, host in enumerate(self._hosts) if host.host.may(job.needs)):
                kept.add(kind)
        return None, ""

    def _end(self, time: float | None, number: int, device: str, memory_mb: int, alone: bool) -> None:
        if time is not None:  # else it is unknown when its slot becomes free
            heapq.heappush(self._ends, (max(0.0, time), number, device, memory_mb, alone))

    def _fill(self, number: int, time: float) -> Iterable[tuple[str, float]]:
        slots = self._hosts[number]
        while slots.free and not slots.closed:
            best, device = self._next(number)
            if best is None:
                return
            self._lines[best.needs].popleft()
            pace = self._paces.get(kind_of(device))
            yield best.id, time
            slots.take(device, best.needs.memory_mb, best.needs.alone)
            end = None if pace is None else time + pace.seconds(best.work)
            self._end(end, number, device, best.needs.memory_mb, best.needs.alone)
