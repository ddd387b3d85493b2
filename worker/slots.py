"""The slots of one worker: which device and how much memory its jobs use, and what is free for another one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.errors import JobsError
from jobs.repository.attempts import Claim
from jobs.scheduling import devices_of, has_gpu, kind_of, last_chance, needs_memory_mb, ranks_of
from jobs.settings import Settings


def slot_devices(settings: Settings, gpus: int) -> tuple[str, ...]:
    """The device of each slot, GPUs first.

    Raises:
        JobsError: `ADDER_WORKER_DEVICES` names a GPU that is not there.
    """
    here = [f"cuda:{number}" for number in range(gpus)]
    named = settings.worker_devices or (*here, "cpu")
    missing = [device for device in named if device != "cpu" and device not in here]
    if missing:
        raise JobsError(
            f"ADDER_WORKER_DEVICES names {', '.join(missing)}, but torch finds {gpus} GPUs here"
            f"{' (' + ', '.join(here) + ')' if here else ''}. Correct it, or leave it out to use all there are."
        )
    each = {"cuda": settings.jobs_per_device, "cpu": settings.worker_slots}
    ordered = sorted(named, key=lambda device: kind_of(device) == "cpu")
    return tuple(device for device in ordered for _ in range(each[kind_of(device)]))


@dataclass(frozen=True)
class Free:
    """What a worker has left for one more job."""

    devices: tuple[str, ...]
    """Devices of the free slots: GPUs first, and of them those with the fewest jobs."""
    gpus: bool
    """Whether the worker has GPUs, free or not."""
    memory_mb: int
    idle: bool
    """Whether the worker runs no job."""
    slots: tuple[str, ...] = ()
    """The device of each free slot, in the order of `devices`."""


class Slots:
    """The slots of a worker. Thread-safe; its claims take turns, so that two of them never count on the same free slot.

    Args:
        devices: the device of each slot.
        memory_mb: what the jobs share, in MiB.
    """

    def __init__(self, devices: Sequence[str], memory_mb: int) -> None:
        self.devices = tuple(devices)
        self.memory_mb = memory_mb
        self._claiming = threading.Lock()
        self._lock = threading.Lock()
        self._taken: list[Claim] = []

    def free(self) -> Free | None:
        """What is free; None if every slot is taken or a job runs that must run alone."""
        with self._lock:
            taken = list(self._taken)
        left = Counter(self.devices)
        busy = Counter(device for claim in taken for device in devices_of(claim.device))
        left.subtract(busy)
        known = dict.fromkeys(self.devices)
        devices = sorted((d for d in known if left[d] > 0), key=lambda d: (kind_of(d) == "cpu", busy[d]))
        if not devices or any(last_chance(claim.faults, claim.max_attempts) for claim in taken):
            return None
        asked = sum(needs_memory_mb(claim.spec["resources"]["memory_gb"], ranks_of(claim.spec)) for claim in taken)
        slots = tuple(device for device in devices for _ in range(left[device]))
        return Free(tuple(devices), has_gpu(self.devices), max(0, self.memory_mb - asked), not taken, slots)

    def take(self, claim: Callable[[Free], Claim | None]) -> Claim | None:
        """Takes a slot if `claim` finds a job for what is free. The caller calls `release` after the job."""
        with self._claiming:
            free = self.free()
            found = None if free is None else claim(free)
            if found is not None:
                with self._lock:
                    self._taken.append(found)
        return found

    def release(self, claim: Claim) -> None:
        with self._lock:
            self._taken.remove(claim)
