"""What the threads of one worker process share."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import structlog
from celery import Celery

from jobs.database import Database
from jobs.ids import new_id
from jobs.repository.queue import Offer
from jobs.scheduling import kind_of
from jobs.settings import MIB, Settings
from jobs.states import Drain
from jobs.store import ArtifactStore, store_of
from jobs.wakeups import celery_app
from worker.isolation import Isolation
from worker.memory import memory_bytes
from worker.probe import may_have_gpu, probe
from worker.running import Running
from worker.sampling import Sampler
from worker.slots import Free, Slots, slot_devices
from worker.stats import Stats
from worker.template.client import ANSWER_SECONDS, Template

log = structlog.get_logger()


@dataclass
class WorkerContext:
    settings: Settings
    database: Database
    store: ArtifactStore
    app: Celery
    id: str = field(default_factory=lambda: new_id("worker"))
    info: dict[str, Any] = field(default_factory=dict)
    """Versions, cores, GPUs and kernel backends, as `worker.probe` found them."""
    draining: threading.Event = field(default_factory=threading.Event)
    """Set when the worker is to stop: it claims nothing more, and running attempts save a checkpoint and are handed
    back."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when an attempt has ended here, until the sweeps have been moved on."""
    drain: Drain | None = None
    """Set while an operator drains this worker: it claims nothing, and with `hand_over` it also gives up what runs."""
    offers: tuple[str, ...] = ()
    """The `environment_key` of each environment that this machine offers, as `worker.probe` found them."""
    slots: Slots = field(init=False)
    """Slots of the CPU alone until `open_slots` has been called."""
    isolation: Isolation = field(default_factory=lambda: Isolation("none", "not asked for"))
    """What holds its jobs back."""
    template: Template | None = None
    """The process from which attempts are forked. None: each is spawned."""
    running: Running = field(default_factory=Running)
    stats: Stats = field(default_factory=Stats)
    sampler: Sampler = field(init=False)
    """Samples what the worker and its jobs use."""

    def __post_init__(self) -> None:
        self.slots = Slots(("cpu",) * self.settings.worker_slots, memory_mb(self.settings))
        self.sampler = Sampler(self.settings, lambda: bool(self.gpu_names))

    @classmethod
    def create(cls, settings: Settings) -> WorkerContext:
        """The context of a worker process.

        Raises:
            JobsError: the isolation that the settings ask for cannot be had.
        """
        isolation = Isolation.of(settings)
        return cls(
            settings,
            Database(settings.resolved_database_url),
            store_of(settings),
            celery_app(settings),
            isolation=isolation,
            template=Template(
                answer_seconds=min(ANSWER_SECONDS, settings.lease_seconds / 4),
                variables=settings.child_variables,
                credentials=isolation.credentials(),
            )
            if settings.forks
            else None,
        )

    @property
    def leaving(self) -> bool:
        """Whether running attempts are to be handed back."""
        return self.draining.is_set() or self.drain is Drain.HAND_OVER

    @property
    def closed(self) -> bool:
        """Whether no new attempt may begin."""
        return self.draining.is_set() or self.drain is not None

    @property
    def lease_ms(self) -> int:
        return int(self.settings.lease_seconds * 1000)

    def probe_machine(self) -> None:
        """Finds out what this machine offers, in some seconds unless the template has said it. An error is logged and
        shown by `/v1/system`."""
        try:
            self.info = dict(self.template.machine if self.template is not None else {}) or probe()
        except Exception as error:  # noqa: BLE001  (jobs will say the same when they run)
            log.error("worker.probe_failed", error=str(error))
            self.info = {"error": f"torch cannot be loaded: {error}"}
        self.offers = tuple(self.info.pop("offers", ()))

    @property
    def gpu_names(self) -> list[str]:
        """The names of the GPUs, in torch's order."""
        return self.info.get("gpus") or []

    def open_slots(self) -> None:
        """Opens the slots. If there may be GPUs it probes the machine first, so that no job gets the CPU by mistake.

        Raises:
            JobsError: `ADDER_WORKER_DEVICES` names a GPU that is not there.
        """
        if not self.info and may_have_gpu():
            self.probe_machine()
        self.slots = Slots(slot_devices(self.settings, len(self.gpu_names)), memory_mb(self.settings))

    def offer(self, free: Free) -> Offer:
        """What is free on this worker, as an argument of `queue.claim`."""
        return Offer(
            self.id,
            devices=free.devices,
            gpus=free.gpus,
            memory_mb=free.memory_mb,
            keys=self.offers,
            names={f"cuda:{number}": f"cuda ({name})" for number, name in enumerate(self.gpu_names)},
            idle=free.idle,
            free_slots=free.slots,
            slots=self.slots.devices,
        )

    def threads(self, wanted: int | None, slots: int = 1, ranks: int = 1) -> int:
        """Threads of each of the `ranks` processes of an attempt: those that the spec asks for, else the share of its
        `slots` in the cores of this machine."""
        shared = self.settings.worker_threads or len(os.sched_getaffinity(0)) // len(self.slots.devices)
        return wanted or max(1, shared * slots // ranks)

    def row(self) -> dict[str, Any]:
        """The row of this worker, as an argument of `recovery.heartbeat`."""
        return {
            "id": self.id,
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "slots": len(self.slots.devices),
            "device": kind_of(self.slots.devices[0]),
            "devices": list(self.slots.devices),
            "memory_mb": self.slots.memory_mb,
            "offers": list(self.offers),
            "draining": self.drain,
            "info": {**self.info, "isolation": self.isolation.kind, "isolation_note": self.isolation.note},
            "stats": self.stats.report(
                running=len(self.running.fences),
                spooled=self.running.spool_items(),
                gpus=self.sampler.gpus,
                samples=self.sampler.samples(),
            ),
        }


def memory_mb(settings: Settings) -> int:
    """Memory that the jobs of this worker share, in MiB."""
    given = settings.worker_memory_gb
    return memory_bytes() // MIB if given is None else int(given * 1024)
