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
from jobs.store import ArtifactStore, store_of
from jobs.wakeups import celery_app


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

    @classmethod
    def create(cls, settings: Settings) -> WorkerContext:
        return cls(
            settings,
            Database(settings.resolved_database_url),
            store_of(settings),
            celery_app(settings),
        )

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
            "offers": [],
            "info": self.info,
            "stats": {},
        }
