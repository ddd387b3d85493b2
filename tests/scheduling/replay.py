"""A trace of submissions, played through the repository by simulated workers on a virtual clock.

The queue, the claims and the workers' slots are the real ones; only the trainings are not run: each takes as long as
`PACES` says of its work.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from jobs.access.scope import DEFAULT, SERVICE
from jobs.database import Database
from jobs.forecast import Forecast, Pace, Running
from jobs.repository import attempts, lifecycle, outlook, queue, recovery
from jobs.repository.attempts import Claim
from jobs.repository.queue import Offer
from jobs.scheduling import kind_of
from jobs.states import Status
from tests.support.specs import train_spec
from worker.slots import Free, Slots

LEASE_MS = 3_600_000
PACES = {"cpu": Pace(2.0, 1 / 400), "cuda": Pace(5.0, 1 / 4000)}
"""Seconds, and seconds for a mega-operation."""


class Request(NamedTuple):
    """A line of the trace."""

    at: float
    user: str
    priority: int
    device: str
    memory_gb: float | None
    epochs: int
    processes: int = 1


def trace() -> list[Request]:
    with Path(__file__).with_name("trace.csv").open(newline="") as file:
        return [
            Request(
                float(row["at_seconds"]), row["user"], int(row["priority"]), row["device"],
                float(row["memory_gb"]) if row["memory_gb"] else None, int(row["epochs"]),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


@dataclass(frozen=True)
class Queued:
    """A job that waits, as the test keeps book of it."""

    id: str
    request: Request
    turn: int
    work: int

    @property
    def order(self) -> tuple[int, int, str]:
        return (-self.request.priority, self.turn, self.id)


@dataclass(frozen=True)
class Machine:
    """A simulated worker."""

    id: str
    slots: Slots

    def could_take(self, request: Request, free: Free | None = None) -> bool:
        """The rule in the words of the documentation, told from the request and not by the code under test."""
        devices = self.slots.devices if free is None else free.devices
        memory_mb = self.slots.memory_mb if free is None else free.memory_mb
        auto = "cuda" if "cuda:0" in self.slots.devices else "cpu"
        wanted = auto if request.device == "auto" else request.device
        slots = self.slots.devices if free is None else free.slots
        enough = min(request.processes, self.slots.devices.count("cpu"))
        if request.processes > 1 and slots.count("cpu") < enough:
            return False
        return any(device.startswith(wanted) for device in devices) and (request.memory_gb or 0) * 1024 <= memory_mb


@dataclass(frozen=True)
class Start:
    """A claim that was made."""

    time: float
    machine: Machine
    job: Queued
    device: str
    could: Sequence[Queued]
    """What else that waited then the worker could have taken, by `Machine.could_take`."""


@dataclass
class Site:
    """A database, simulated workers, and the book of what happened."""

    database: Database
    machines: Sequence[Machine]
    now: float = 0.0
    waiting: dict[str, Queued] = field(default_factory=dict)
    starts: dict[str, Start] = field(default_factory=dict)
    running: dict[str, tuple[float, int, Claim]] = field(default_factory=dict)
    """By job: when it ends, the machine's number, the claim."""

    def play(self, requests: Sequence[Request], look: Callable[[Site], None] = lambda site: None) -> None:
        """All requests, until the last job has ended. `look` is called before workers claim at an arrival."""
        self.heartbeat()
        ahead = sorted(requests, key=lambda request: request.at)
        while ahead or self.running:
            ends = [(end, number, claim.device, claim) for end, number, claim in self.running.values()]
            first = min(ends, key=lambda end: end[:3], default=None)
            if ahead and (first is None or ahead[0].at <= first[0]):
                request = ahead.pop(0)
                self.now = request.at
                self.submit(request)
                look(self)
                for machine in self.machines:
                    self.claim(machine)
            elif first is not None:
                self.now = first[0]
                self.finish(first[3])
                self.claim(self.machines[first[1]])

    def heartbeat(self) -> None:
        with self.database.write(DEFAULT) as session:
            for machine in self.machines:
                slots = machine.slots
                row = {"id": machine.id, "hostname": "here", "pid": 1, "slots": len(slots.devices), "info": {}}
                row |= {"device": kind_of(slots.devices[0]), "devices": list(slots.devices), "offers": [], "stats": {}}
                recovery.heartbeat(session, row | {"memory_mb": slots.memory_mb})

    def submit(self, request: Request) -> Queued:
        several = {"processes": request.processes} if request.processes > 1 else {}
        spec = train_spec(
            priority=request.priority, epochs=request.epochs, labels={"user": request.user},
            resources={"device": request.device, "memory_gb": request.memory_gb} | several,
        )  # fmt: skip
        with self.database.write(DEFAULT) as session:
            row = lifecycle.submit(session, spec).job
        job = Queued(row.id, request, row.turn, row.work)
        self.waiting[job.id] = job
        return job

    def claim(self, machine: Machine) -> None:
        """Until the worker finds nothing more."""

        def claim(free: Free) -> Claim | None:
            offer = Offer(
                machine.id, free.devices, free.gpus, free.memory_mb, idle=free.idle,
                free_slots=free.slots, slots=machine.slots.devices,
            )  # fmt: skip
            with self.database.write(SERVICE) as session:
                found = queue.claim(session, offer, LEASE_MS)
            could = [job for job in self.waiting.values() if machine.could_take(job.request, free)]
            if found is None:
                assert not could or self.keeps(machine), f"{machine.id} left {could[0]} in the queue"
                return None
            job = self.waiting.pop(found.job_id)
            self.starts[job.id] = Start(self.now, machine, job, found.device, could)
            end = self.now + PACES[kind_of(found.device)].seconds(job.work)
            self.running[job.id] = (end, self.machines.index(machine), found)
            return found

        while machine.slots.take(claim) is not None:
            pass

    def keeps(self, machine: Machine) -> bool:
        """Whether a job of several processes waits for this machine, the first that could take it."""
        several = [job.request for job in self.waiting.values() if job.request.processes > 1]
        return any(machine is next(m for m in self.machines if m.could_take(request)) for request in several)

    def finish(self, claim: Claim) -> None:
        _, number, _ = self.running.pop(claim.job_id)
        self.machines[number].slots.release(claim)
        with self.database.write(DEFAULT) as session:
            attempts.finish(session, attempts.lock(session, claim, LEASE_MS), Status.SUCCEEDED, "Succeeded.")

    def forecast(self) -> Forecast:
        """The service's own picture of the queue, but that time is the virtual one."""
        with self.database.read(DEFAULT) as session:
            found = outlook.forecast(session, LEASE_MS)
        left = {claim.job_id: end - self.now for end, _, claim in self.running.values()}
        jobs = {claim.job_id: (number, claim) for _, number, claim in self.running.values()}
        assert len(found.running) == len(jobs)
        running = [
            Running(self.machines[number].id, claim.device, left[id], (claim_memory(claim)))
            for id, (number, claim) in jobs.items()
        ]
        assert sorted(job[:2] + job[3:] for job in running) == sorted(job[:2] + job[3:] for job in found.running)
        return replace(found, running=running, paces=PACES)


def claim_memory(claim: Claim) -> int:
    """MiB that the job asks for; the trace has whole GiB."""
    return int((claim.spec["resources"]["memory_gb"] or 0) * 1024)
