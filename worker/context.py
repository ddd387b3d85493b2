"""What the threads of one worker process share."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from jobs.database import Database
from jobs.ids import new_id
from jobs.settings import Settings
from jobs.states import Drain
from jobs.store import ArtifactStore, store_of
from jobs.wakeups import celery_app
from worker.running import Running
from worker.stats import Stats


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
    """Set once the worker shall stop: no new claims, running attempts are handed back with a checkpoint."""
    drain: Drain | None = None
    """Set while an operator wants no new claims here, and with `hand_over` no running attempts either."""
    offers: tuple[str, ...] = ()
    """Every environment (`jobs.environment.exact_key`) that an attempt can go on in here, as `worker.probe` found."""
    gpus: list[dict[str, int]] = field(default_factory=list)
    """How busy each GPU was when last looked at (`worker.probe.gpu_use`)."""
    running: Running = field(default_factory=Running)
    stats: Stats = field(default_factory=Stats)

    @classmethod
    def create(cls, settings: Settings) -> WorkerContext:
        return cls(
            settings,
            Database(settings.resolved_database_url),
            store_of(settings),
            celery_app(settings),
        )

    @property
    def leaving(self) -> bool:
        """Whether running attempts are to be handed over."""
        return self.draining.is_set() or self.drain is Drain.HAND_OVER

    @property
    def closed(self) -> bool:
        """Whether no new attempts are to begin."""
        return self.draining.is_set() or self.drain is not None

    @property
    def lease_ms(self) -> int:
        return int(self.settings.lease_seconds * 1000)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices this worker offers, best first; jobs that ask for another are left to others."""
        gpus = self.info.get("gpus") or []
        return (*(f"cuda:{number}" for number in range(len(gpus))), "cpu")

    def threads(self, wanted: int | None) -> int:
        """Threads for one attempt: what the spec asks for, else this machine's cores shared among the slots."""
        shared = max(1, len(os.sched_getaffinity(0)) // self.settings.worker_slots)
        return wanted or self.settings.worker_threads or shared

    def row(self) -> dict[str, Any]:
        """This worker as `recovery.heartbeat` stores it."""
        return {
            "id": self.id,
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "slots": self.settings.worker_slots,
            "device": self.devices[0].partition(":")[0],
            "devices": list(self.devices),
            "memory_mb": 0,
            "offers": list(self.offers),
            "draining": self.drain,
            "info": self.info,
            "stats": self.stats.report(
                running=len(self.running.titles), spooled=self.running.spool_items(), gpus=self.gpus
            ),
        }
